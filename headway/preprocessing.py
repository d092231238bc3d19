"""What happens to a sensor window before the backbone sees it, fitted when the model is converted.

The converter fits it and the device applies it, so that both see the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float32, describe
from headway.errors import DataError, LocalError


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Impute, then standardise, per channel (the last axis of the input).

    fill: float32 (channels,), the training mean, put where a value is missing (NaN or infinite).
    offset, gain: float32 (channels,), x -> (x - offset) * gain; None leaves x as it is.
    """

    input_shape: tuple[int, ...]
    fill: Float32
    offset: Float32 | None = None
    gain: Float32 | None = None

    def __post_init__(self) -> None:
        channels = (self.input_shape[-1],)
        for name in ("fill", "offset", "gain"):
            array = getattr(self, name)
            if array is not None and (array.shape != channels or not np.isfinite(array).all()):
                raise LocalError(f"preprocessing {name} must be finite, shape {channels}, got {describe(array)}")

    def apply(self, x: AnyArray) -> tuple[Float32, int]:
        """x: any numeric dtype (n, *input_shape) -> float32 of the same shape, and how many values were missing.

        Raises DataError when the shape is another one, or when every value of a window is missing.
        """
        if x.shape[1:] != self.input_shape:
            raise DataError(
                f"samples have shape {tuple(x.shape[1:])}, the model takes {self.input_shape}; "
                f"give x as (n, {', '.join(map(str, self.input_shape))})"
            )
        if x.dtype.kind not in "fiub":
            raise DataError(f"samples have dtype {x.dtype}; give numbers (float32 is best)")
        values = np.array(x, dtype=np.float32)
        missing = ~np.isfinite(values)
        missing_count = int(np.count_nonzero(missing))
        if missing_count:
            empty = missing.reshape(len(values), -1).all(axis=1)
            if empty.any():
                raise DataError(f"sample {int(empty.argmax())} has no finite value; nothing can be predicted from it")
            values = np.where(missing, self.fill, values).astype(np.float32)
        if self.offset is not None and self.gain is not None:
            values = (values - self.offset) * self.gain
        return values, missing_count
