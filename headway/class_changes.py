"""Reads requests to add, rename or remove classes, by name, from a file of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway.arrays import AnyArray, describe
from headway.errors import DataError
from headway.fields import TOLD_MAX, nearest
from headway.printable import is_printable

ADD, REMOVE, RENAME = "add_class", "remove_class", "rename_class"
CHANGES = (ADD, REMOVE, RENAME)
CLASS_NAME_MAX = 256


@dataclass(frozen=True, slots=True)
class ClassChanges:
    """Carried out in this order: rename (old, new), add, remove. Nothing of it when a part cannot be."""

    rename: tuple[tuple[str, str], ...] = ()
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @classmethod
    def read(cls, arrays: Mapping[str, AnyArray]) -> ClassChanges | None:
        """From arrays of texts: ``add_class`` (n,), ``remove_class`` (n,), ``rename_class`` (n, 2); None without any.

        Raises DataError.
        """
        found = {name: arrays[name] for name in CHANGES if name in arrays}
        for name, array in found.items():
            wanted = (len(array), 2) if name == RENAME and array.ndim else (array.size,)
            if array.dtype.kind != "U" or array.shape != wanted:
                shape = "(n, 2), old and new name" if name == RENAME else "(n,)"
                raise DataError(f"{name} is {describe(array)}; it must hold texts of shape {shape}")
        pairs = tuple((str(old), str(new)) for old, new in found[RENAME].tolist()) if RENAME in found else ()
        texts = {name: tuple(map(str, found[name].tolist())) if name in found else () for name in (ADD, REMOVE)}
        return cls(pairs, texts[ADD], texts[REMOVE]) if found else None

    def checked(self, classes: Sequence[str], bundle: Sequence[str], removed: frozenset[str]) -> None:
        """Raise DataError when this cannot be done to `classes`, the first of which are the `bundle`'s, renamed or not.

        The bundle's own names stay taken, each by its class: in the fleet they go on meaning that one.
        """
        names = list(classes)
        for old, new in self.rename:
            if old not in names:
                raise DataError(
                    f"class {old[:TOLD_MAX]!r} cannot be renamed: it is no class{nearest(old, tuple(names))}"
                )
            at = names.index(old)
            if new in bundle and bundle.index(new) != at:
                raise DataError(f"class {old!r} cannot become {new!r}: that is the bundle's name of another class")
            if new in names or not is_class_name(new):
                problem = f"names are new, of 1 to {CLASS_NAME_MAX} printable letters"
                raise DataError(f"class {old!r} cannot become {new[:32]!r}: {problem}")
            names[at] = new
        for name in self.add:
            if name in bundle and name not in names:
                called = names[bundle.index(name)]
                raise DataError(f"class {name!r} cannot be added: it is the bundle's name of {called!r}")
        names += [name for name in self.add if name not in names]
        gone = (removed - set(self.add)) | set(self.remove)
        for name in self.remove:
            if name not in names:
                raise DataError(
                    f"class {name[:TOLD_MAX]!r} cannot be removed: it is no class{nearest(name, tuple(names))}"
                )
        if self.remove and len(set(names) - gone) < 2:
            raise DataError(f"classes {list(self.remove)} cannot be removed from {names}: two must stay")


def is_class_name(name: str) -> bool:
    """Whether a class may be called so: not empty, not too long, nothing in it that a terminal acts on."""
    return 0 < len(name) <= CLASS_NAME_MAX and is_printable(name)
