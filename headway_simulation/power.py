"""Simulates power: it can fail just before or after any effect that lasts or that others see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PowerCut(BaseException):
    """The machine is off. Not an Exception: no handler of the program runs any more."""


class Power:
    """One machine's power. `arm` makes it fail at a coming effect, just before or just after it takes place."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._commits_only = False
        self.off = False

    def arm(self, points: int, commits_only: bool = False) -> None:
        """Fail after so many more points; each effect has two, one before and one after it.

        commits_only: count only those around commits, which are few among what a device says.
        """
        self._left, self._commits_only = points, commits_only

    def switch_on(self) -> None:
        """The machine boots; what was armed stays armed."""
        self.off = False

    def restore(self) -> None:
        """Power is back, and stays until armed again."""
        self._left, self.off = None, False

    def point(self, commit: bool = False) -> None:
        """The power may fail here. Raises PowerCut."""
        if self.off:
            raise PowerCut
        if self._left is None or (self._commits_only and not commit):
            return
        self._left -= 1
        if self._left < 0:
            self.off = True
            raise PowerCut

    @contextmanager
    def effect(self, commit: bool = False) -> Iterator[None]:
        """Around one effect."""
        self.point(commit)
        yield
        self.point(commit)
