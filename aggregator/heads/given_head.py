"""The head that a parent server has made for this region, until it is published here (`aggregator.regions`)."""

from __future__ import annotations

from dataclasses import replace

from aggregator.policy import Policy
from headway.wire import ALL, PublishedHead


class GivenHead:
    """Of one feature space. readers: whom its heads are for."""

    def __init__(self, space: str, policy: Policy, readers: str) -> None:
        # heads of everybody come from a parent, where there is one that gives them
        self.wanted = bool(policy.region.name) and policy.region.heads and readers == ALL
        self._space = space
        self._head: PublishedHead | None = None

    @property
    def waits(self) -> bool:
        """Whether there is one to publish."""
        return self._head is not None

    def give(self, head: PublishedHead, newest: PublishedHead | None) -> None:
        """One came. It changes nothing where it is of another space, or the one that is published: `newest`."""
        if head.space == self._space and (newest is None or not newest.head.same_as(head.head)):
            self._head = head

    def take(self, version: int) -> PublishedHead | None:
        """It, under a version of this fleet; once."""
        head, self._head = self._head, None
        return None if head is None else replace(head, version=version)
