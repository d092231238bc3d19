"""Names of tensors in a saved state: those of a part come under its name."""

from __future__ import annotations

from collections.abc import Mapping

from headway.arrays import AnyArray


def under(part: str, tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """The tensors of one part, under its name."""
    return {f"{part}.{name}": array for name, array in tensors.items()}


def parts_of(tensors: Mapping[str, AnyArray], part: str) -> dict[str, AnyArray]:
    """Inverse of `under`: the tensors of one part, by their own names."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
