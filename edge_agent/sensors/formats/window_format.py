"""What a bundle takes: the shape of a window, and how windows are cut from rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.bundle import Variant
from headway.maths import TimeAxis
from headway.stream import StreamFormat


@dataclass(frozen=True, slots=True)
class WindowFormat:
    """stream: None where the bundle takes whole windows alone."""

    input_shape: tuple[int, ...]
    time_axis: TimeAxis
    stream: StreamFormat | None = None

    @classmethod
    def of(cls, variant: Variant) -> WindowFormat:
        return cls(variant.input_shape, variant.preprocessing.time_axis, variant.stream)

    @property
    def numbers(self) -> int:
        """Of one window."""
        return math.prod(self.input_shape)
