"""Pictures that say how large they are, one after the other, as programs for cameras write them into a pipe."""

from __future__ import annotations

import math
import re

import numpy as np

from edge_agent.sources.ports import Rows
from headway.arrays import Float64
from headway.errors import DataError
from headway.ports import Clock

PORTABLE = re.compile(rb"(P5|P6)\s+(?:#[^\n]{0,200}\n)?(\d{1,5})\s+(\d{1,5})\s+(\d{1,5})\s")
PORTABLE_HEADER_MAX = 300


class PortableDecoder:
    """Pictures that say how large they are: PGM (P5) and PPM (P6) of 8 bits, one after the other.

    shape: of the bundle's windows, (H, W), (H, W, 1) or (H, W, 3).
    """

    def __init__(self, shape: tuple[int, ...], clock: Clock) -> None:
        self._shape, self._clock = shape, clock
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Rows:
        self._rest += piece
        frames = []
        while (found := PORTABLE.match(self._rest)) is not None:
            width, height, colours = int(found[2]), int(found[3]), 3 if found[1] == b"P6" else 1
            taken = (*self._shape, 1) if len(self._shape) == 2 else self._shape
            if (height, width, colours) != taken or int(found[4]) != 255:
                there, wanted = f"{height}x{width}x{colours}", "x".join(map(str, taken))
                raise DataError(f"a picture is {there} with values up to {int(found[4])}; the bundle takes {wanted} up "
                                "to 255: scale it in the command")  # fmt: skip
            end = found.end() + math.prod(taken)
            if len(self._rest) < end:
                break
            frames.append(np.frombuffer(bytes(self._rest[found.end() : end]), np.uint8).astype(np.float64))
            del self._rest[:end]
        if found is None and len(self._rest) > PORTABLE_HEADER_MAX:
            begin = bytes(self._rest[:16])
            self._rest.clear()
            raise DataError(f"no picture in PGM or PPM begins with {begin!r}")
        times_s: Float64 = self._clock.wall_s() + 1e-6 * np.arange(len(frames), dtype=np.float64)
        return Rows(times_s, np.array(frames).reshape(len(frames), math.prod(self._shape)))
