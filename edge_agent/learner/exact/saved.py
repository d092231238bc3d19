"""Statistics read back from a saved state: what does not fit, or no samples can have made, is a StoreError."""

from __future__ import annotations

from collections.abc import Mapping

from headway.arrays import AnyArray
from headway.errors import RemoteError, StoreError
from headway.maths import HalfSums, Statistics, from_arrays, pack_upper, to_arrays


def packed(statistics: Statistics | HalfSums, name: str) -> dict[str, AnyArray]:
    """The tensors of one set of statistics, under `name`."""
    arrays = pack_upper(statistics) if isinstance(statistics, HalfSums) else to_arrays(statistics)
    return {f"{name}.{part}": array for part, array in arrays.items()}


def unpacked(tensors: Mapping[str, AnyArray], name: str, like: Statistics, classes: tuple[str, ...]) -> Statistics:
    """Inverse of `packed`, for the feature space of `like`. Raises StoreError, and KeyError without a tensor."""
    arrays = {part: tensors[f"{name}.{part}"] for part in ("gram", "class_sums")}
    try:
        return from_arrays(arrays, like.size, classes, like.space)
    except RemoteError as error:
        raise StoreError(f"saved {name.replace('.', ' ')} is damaged: {error}") from error
