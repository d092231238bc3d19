"""What classes are called: here, where people and label files name them, and in tables, messages and heads.

A class of the bundle keeps the bundle's name in all that travels, because the fleet adds up by it: renaming it is a
matter of this device, and its columns keep their places. A class that was added has one name, here and in the fleet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.arrays import Float32
from headway.class_changes import CLASS_NAME_MAX, ClassChanges
from headway.errors import DataError, StoreError
from headway.wire import CLASSES_MAX


class ClassNames:
    """Classes by their names here, the bundle's first. bundle: their names there."""

    def __init__(self, bundle: tuple[str, ...]) -> None:
        self._bundle = bundle
        self.here = bundle
        self.removed: frozenset[str] = frozenset()
        # name here by what the fleet may say: the bundle's name, or that of an added class before it was renamed
        self._called: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.here)

    @property
    def travelling(self) -> tuple[str, ...]:
        """The same classes as tables, messages and heads name them."""
        return (*self._bundle, *self.here[len(self._bundle) :])

    def of_fleet(self, name: str) -> str:
        """What a class of the fleet is called here."""
        return self._called.get(name, name)

    @property
    def called(self) -> Mapping[str, str]:
        """Name here by name in the fleet, where they differ."""
        return dict(self._called)

    def add(self, name: str) -> bool:
        """Know a class more; one that was removed comes back. False when nothing is new to the tables."""
        if name in self.here:
            self.removed -= {name}
            return False
        self.check(ClassChanges(add=(name,)))
        self.here = (*self.here, name)
        return True

    def rename(self, changes: ClassChanges) -> tuple[tuple[str, str], ...]:
        """Rename classes; returns the renames (old, new) that tables must follow: those of added classes."""
        names = dict(changes.rename)
        own = tuple((old, new) for old, new in changes.rename if self.here.index(old) >= len(self._bundle))
        self.here = tuple(names.get(name, name) for name in self.here)
        self.removed = frozenset(names.get(name, name) for name in self.removed)
        called = {old: names.get(new, new) for old, new in self._called.items() if old not in self._bundle}
        called |= dict(own)
        bundled = zip(self._bundle, self.here, strict=False)
        self._called = called | {name: here for name, here in bundled if name != here}
        return own

    def check(self, changes: ClassChanges) -> None:
        """Raises DataError when this cannot be done as a whole."""
        changes.checked(self.here, self._bundle, self.removed)
        count = len(self.here)
        for name in changes.add:
            count += name not in self.here
            if not 0 < len(name) <= CLASS_NAME_MAX:
                raise DataError(f"class {name[:32]!r} cannot be added: names have 1 to {CLASS_NAME_MAX} characters")
        if count > CLASSES_MAX:
            raise DataError(f"classes {list(changes.add)[:5]} cannot be added: at most {CLASSES_MAX} are possible")

    def spread(self, given: Float32, classes: tuple[str, ...]) -> Float32:
        """A head's probabilities (n, C') in the order of `here`, float32 (n, C); removed classes get none.

        Where the fleet has two classes of one name here, they are that class together.
        """
        if classes == self.travelling and not self.removed:
            return given
        probability = np.zeros((len(given), len(self.here)), np.float32)
        for column, name in enumerate(map(self.of_fleet, classes)):
            if name in self.here and name not in self.removed:
                probability[:, self.here.index(name)] += given[:, column]
        probability /= np.maximum(probability.sum(axis=1, keepdims=True), np.float32(1e-30))
        return probability

    def restore(self, here: tuple[str, ...], removed: tuple[str, ...], called: Mapping[str, str]) -> None:
        """Names as they were saved; the bundle's must be its own. Raises StoreError."""
        expected = tuple(called.get(name, name) for name in self._bundle)
        if here[: len(expected)] != expected or len(set(here)) != len(here):
            raise StoreError("saved learner knows other classes than the bundle")
        self.here, self.removed, self._called = here, frozenset(removed), dict(called)
