"""Faulty variants of what the server does about devices that lie, each with one mistake. Only for tests."""

from __future__ import annotations

from typing import Any

from aggregator.core import Aggregator
from aggregator.heads import GateState
from aggregator.heads.contributions import Contributions, Key
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.head_gate import HeadGate
from aggregator.heads.stored_reports import stored_report
from aggregator.store.rows import QUARANTINED
from headway.maths import Statistics
from headway_simulation.build import Build
from headway_simulation.server_disk import ServerStore


class WeighsNothing(FleetSum):
    """Who claims far more samples than the others counts with all of them."""

    @property
    def weighed(self) -> Statistics:
        return self.total


class CountsWhoIsAside(Contributions):
    """Sets a device aside and leaves what it told in the sum."""

    def _hold(self, key: Key, counted: Statistics | None) -> None:
        super()._hold(key, None)


class CountsTwice(Contributions):
    """Adds what counts again twice."""

    def _put_back(self, keys: list[Key]) -> None:
        super()._put_back(keys)
        for key in keys:
            self.sum.replace(key[0], None, self._tables(key))


class TakesOutTwice(Contributions):
    """Subtracts what a removed device told, also where it was set aside and is in no sum."""

    def counted(self, device: str) -> Statistics:
        reports = map(stored_report, self._store.every_statistics(self._nothing.space, device))
        return sum((report.statistics for report in reports if report is not None), self._nothing)


class LooksAtNobody(Contributions):
    """Devices that contradict the others count on."""

    def follow(self, *_: Any) -> bool:
        return self.follow_operators()


class KeepsItAside(ServerStore):
    """A removal leaves the row that sets the device aside."""

    def remove_device(self, device: str) -> None:
        rows = self.rows(QUARANTINED).all(device)
        super().remove_device(device)
        for row in rows:
            self.rows(QUARANTINED).put(row)


class LetsAllPass(HeadGate):
    """Publishes the next head after one that it withdrew, though no label has spoken for it."""

    def _doubt(self, *_: Any) -> str:
        return ""


class WithdrawsInWordsOnly(HeadGate):
    """Says that a head is withdrawn, and publishes none in its place."""

    def decide(self, *parts: Any) -> Any:
        head, effects = super().decide(*parts)
        return None if self._row().state == GateState.WITHDRAWN else head, effects


def with_contributions(kind: type[Contributions]) -> type[Aggregator]:
    """An aggregator that sums like this."""

    class Faulty(Aggregator):
        def __init__(self, *parts: Any, **options: Any) -> None:
            super().__init__(*parts, **options)
            self._heads._contributions.__class__ = kind

    return Faulty


class WithoutWeights(Aggregator):
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self._heads.sum.__class__ = WeighsNothing


def with_gate(kind: type[HeadGate]) -> type[Aggregator]:
    """An aggregator whose gate is like this."""

    class Faulty(Aggregator):
        def __init__(self, *parts: Any, **options: Any) -> None:
            super().__init__(*parts, **options)
            self._heads._gate.__class__ = kind

    return Faulty


TRUST_BUGS = {
    "a weight not applied": Build(core=WithoutWeights),
    "a device set aside counts": Build(core=with_contributions(CountsWhoIsAside)),
    "a release counts twice": Build(core=with_contributions(CountsTwice)),
    "a removed liar is taken out twice": Build(core=with_contributions(TakesOutTwice)),
    "a removed liar stays set aside": Build(server_store=KeepsItAside),
    "a head after a withdrawn one is published untried": Build(core=with_gate(LetsAllPass)),
    "a head is withdrawn in words only": Build(core=with_gate(WithdrawsInWordsOnly)),
    "a liar is never set aside": Build(core=with_contributions(LooksAtNobody)),
}
