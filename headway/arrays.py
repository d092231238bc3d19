"""Names the array types used across modules, and the one check they all need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]
Int64 = NDArray[np.int64]
Strings = NDArray[np.str_]
Bools = NDArray[np.bool_]
AnyArray = NDArray[Any]


def describe(array: AnyArray) -> str:
    """Dtype and shape in the form every error message uses, e.g. ``float32 (40, 100, 6)``."""
    return f"{array.dtype} {tuple(array.shape)}"
