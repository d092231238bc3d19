"""Sound: RIFF WAVE with PCM of 8, 16, 24 or 32 bits or floats, read in blocks; samples are of full scale 1.

Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991); WAVE_FORMAT_EXTENSIBLE.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np

from edge_agent.sensors.formats.tables import BLOCK_NUMBERS, Block, Unchanged
from edge_agent.sensors.formats.window_format import WindowFormat
from headway.arrays import Float64
from headway.errors import DataError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# of the fixed end of the GUID in an extensible format: the first two bytes are the format
GUID_END = bytes.fromhex("000000001000800000aa00389b71")
# a writer into a pipe does not know how long it will be
UNKNOWN_BYTES = (0, 0xFFFFFFFF)
CHUNKS_MAX = 64
FULL_SCALE = "FS"
RATE_TOLERANCE = 1e-6


class WavTable:
    """The frames of one file: a row each, at the rate that the bundle takes."""

    columns: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    has_labels = has_ids = False

    def __init__(self, file: io.FileIO, where: str, taken: WindowFormat) -> None:
        self._file, self.where = file, where
        self._unchanged = Unchanged(file, where)
        self._size = os.fstat(file.fileno()).st_size
        self._kind, self.width, rate_hz, self._bits = 0, 0, 0, 0
        self._begin, self._end = self._chunks()
        rate_hz = self._rate_hz
        stream = taken.stream
        if stream is None:
            raise DataError(f"{where} is a recording, and the bundle takes whole windows alone; convert the model with "
                            "--stream")  # fmt: skip
        if self.width != len(stream.channels):
            raise DataError(f"{where} has {self.width} channels; the bundle takes {len(stream.channels)}")
        if abs(rate_hz - stream.rate_hz) > RATE_TOLERANCE * stream.rate_hz:
            raise DataError(f"{where} has {rate_hz} samples a second; the bundle takes {stream.rate_hz:g}: "
                            f"ffmpeg -i IN -ar {stream.rate_hz:g} OUT.wav")  # fmt: skip
        self.units = (FULL_SCALE,) * self.width

    def blocks(self) -> Iterator[Block]:
        frame = self.width * self._bits // 8
        frames = max(1, BLOCK_NUMBERS // self.width)
        at = self._begin
        while at + frame <= self._end:
            self._unchanged.check()
            count = min(frames, (self._end - at) // frame)
            self._file.seek(at)
            yield Block(self._values(self._exactly(count * frame)).reshape(count, self.width))
            at += count * frame

    def close(self) -> None:
        self._file.close()

    def _chunks(self) -> tuple[int, int]:
        """Where the samples begin and end. Raises DataError."""
        self._file.seek(0)
        head = self._exactly(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise DataError(f"{self.where} is no WAVE file: it does not begin with RIFF ... WAVE")
        at, self._rate_hz = 12, 0
        for _ in range(CHUNKS_MAX):
            self._file.seek(at)
            name, size = (head := self._exactly(8))[:4], int.from_bytes(head[4:], "little")
            if name == b"data":
                if not self._rate_hz:
                    break
                end = self._size if size in UNKNOWN_BYTES else at + 8 + size
                if end > self._size:
                    raise DataError(f"{self.where} ends too early: {size} bytes of samples are declared, "
                                    f"{self._size - at - 8} are there")  # fmt: skip
                return at + 8, end
            if name == b"fmt ":
                self._read_format(self._exactly(min(size, 40)))
            at += 8 + size + size % 2
        raise DataError(f"{self.where} holds no samples: a chunk 'fmt ' and behind it one 'data' are needed")

    def _read_format(self, chunk: bytes) -> None:
        if len(chunk) < 16:
            raise DataError(f"{self.where}: its chunk 'fmt ' has {len(chunk)} bytes")
        kind, channels, rate_hz = (int.from_bytes(chunk[at:end], "little") for at, end in ((0, 2), (2, 4), (4, 8)))
        bits = int.from_bytes(chunk[14:16], "little")
        if kind == EXTENSIBLE and len(chunk) == 40 and chunk[26:] == GUID_END:
            kind = int.from_bytes(chunk[24:26], "little")
        if (kind, bits) not in ((PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)):
            raise DataError(f"{self.where} is WAVE of format {kind} with {bits} bits; PCM of 8, 16, 24 or 32 bits or "
                            "floats are read: ffmpeg -i IN -c:a pcm_s16le OUT.wav")  # fmt: skip
        if not channels or not rate_hz:
            raise DataError(f"{self.where} has {channels} channels at {rate_hz} Hz")
        self._kind, self.width, self._rate_hz, self._bits = kind, channels, rate_hz, bits

    def _values(self, payload: bytes) -> Float64:
        if self._kind == FLOAT:
            return np.frombuffer(payload, f"<f{self._bits // 8}").astype(np.float64)
        if self._bits == 8:
            return (np.frombuffer(payload, np.uint8).astype(np.float64) - 128.0) / 128.0
        if self._bits == 24:
            # into the upper bytes of 32 bits, so that the sign is where it belongs
            wide = np.zeros((len(payload) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(payload, np.uint8).reshape(-1, 3)
            return wide.view("<i4").ravel().astype(np.float64) / 2.0**31
        return np.frombuffer(payload, f"<i{self._bits // 8}").astype(np.float64) / 2.0 ** (self._bits - 1)

    def _exactly(self, count: int) -> bytes:
        payload = self._file.read(count) or b""
        if len(payload) != count:
            raise DataError(f"{self.where} ends too early")
        return payload


def is_whole_wav(file: io.FileIO) -> bool:
    """Whether it is as long as it says; its writers put the length there last."""
    file.seek(0)
    head = file.read(8) or b""
    length = int.from_bytes(head[4:], "little")
    return head[:4] == b"RIFF" and length not in UNKNOWN_BYTES and length + 8 == file.seek(0, os.SEEK_END)
