"""Maps class names between this device, where people and label files use them, and statistics, messages and heads.

A class of the bundle keeps the bundle's name in all that travels, because the fleet adds up by it: renaming it is a
matter of this device, and its columns keep their places. A class that was added has one name, here and in the fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headway.arrays import Bools, Float32
from headway.class_changes import CLASS_NAME_MAX, ClassChanges, is_class_name
from headway.errors import DataError, StoreError
from headway.wire import CLASSES_MAX


class ClassNames:
    """Classes by their names here, the bundle's first. bundle: their names there."""

    def __init__(self, bundle: tuple[str, ...]) -> None:
        self._bundle = bundle
        self.local_names = bundle
        self.removed: frozenset[str] = frozenset()
        # name here by what the fleet may say: the bundle's name, or that of an added class before it was renamed
        self._aliases: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.local_names)

    @property
    def wire_names(self) -> tuple[str, ...]:
        """The same classes as statistics, messages and heads name them."""
        return (*self._bundle, *self.local_names[len(self._bundle) :])

    @property
    def added(self) -> Bools:
        """Classes that the bundle's own head does not know, bool (C,)."""
        return np.arange(len(self.local_names)) >= len(self._bundle)

    @property
    def predicted(self) -> Bools:
        """Classes that were not removed, bool (C,)."""
        return np.array([name not in self.removed for name in self.local_names])

    def of_fleet(self, name: str) -> str:
        """What a class of the fleet is called here."""
        return self._aliases.get(name, name)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Name here by name in the fleet, where they differ."""
        return dict(self._aliases)

    def add(self, name: str) -> bool:
        """Know a class more; one that was removed comes back. False when the trainer need not know."""
        if name in self.local_names:
            self.removed -= {name}
            return False
        self.check(ClassChanges(add=(name,)))
        self.local_names = (*self.local_names, name)
        return True

    def rename(self, changes: ClassChanges) -> tuple[tuple[str, str], ...]:
        """Rename classes; returns the renames (old, new) that statistics must follow: those of added classes."""
        names = dict(changes.rename)
        own = tuple((old, new) for old, new in changes.rename if self.local_names.index(old) >= len(self._bundle))
        self.local_names = tuple(names.get(name, name) for name in self.local_names)
        self.removed = frozenset(names.get(name, name) for name in self.removed)
        aliases = {old: names.get(new, new) for old, new in self._aliases.items() if old not in self._bundle}
        aliases |= dict(own)
        bundled = zip(self._bundle, self.local_names, strict=False)
        self._aliases = aliases | {name: local_names for name, local_names in bundled if name != local_names}
        return own

    def remove(self, names: Sequence[str]) -> None:
        """Never predict these any more."""
        self.removed |= set(names)

    def check(self, changes: ClassChanges) -> None:
        """Raises DataError when this cannot be done as a whole."""
        changes.checked(self.local_names, self._bundle, self.removed)
        count = len(self.local_names)
        for name in changes.add:
            count += name not in self.local_names
            if not is_class_name(name):
                problem = f"names have 1 to {CLASS_NAME_MAX} characters, none of them a control character"
                raise DataError(f"class {name[:32]!r} cannot be added: {problem}")
        if count > CLASSES_MAX:
            raise DataError(f"classes {list(changes.add)[:5]} cannot be added: at most {CLASSES_MAX} are possible")

    def spread(self, given: Float32, classes: tuple[str, ...]) -> Float32:
        """A head's probabilities (n, C') in the order of `here`, float32 (n, C); removed classes get none.

        Where the fleet has two classes of one name here, they are that class together.
        """
        if classes == self.wire_names and not self.removed:
            return given
        probability = np.zeros((len(given), len(self.local_names)), np.float32)
        for column, name in enumerate(map(self.of_fleet, classes)):
            if name in self.local_names and name not in self.removed:
                probability[:, self.local_names.index(name)] += given[:, column]
        probability /= np.maximum(probability.sum(axis=1, keepdims=True), np.float32(1e-30))
        return probability

    def restore(self, local_names: tuple[str, ...], removed: tuple[str, ...], aliases: Mapping[str, str]) -> None:
        """Names as they were saved; the bundle's must be its own. Raises StoreError."""
        expected = tuple(aliases.get(name, name) for name in self._bundle)
        if local_names[: len(expected)] != expected or len(set(local_names)) != len(local_names):
            raise StoreError("saved learner knows other classes than the bundle")
        self.local_names, self.removed, self._aliases = local_names, frozenset(removed), dict(aliases)
