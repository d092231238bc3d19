"""One feature space of a fleet: its sum, its heads and its priors, of which no other space has a part."""

from __future__ import annotations

from aggregator.effects import Refused
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.priors import Priors
from aggregator.heads.publisher import HeadPublisher
from aggregator.policy import Policy
from aggregator.store import Store, StoredStatistics
from headway.wire import ALL, StatisticsReport


class Space:
    """Owns what one feature space needs. Every method must run inside a transaction of the store.

    readers: in whose place its heads' topic stands, see `headway.wire.space_name`; by default everybody. Raises
    BundleError as `HeadPublisher` does.
    """

    def __init__(self, fleet: str, model: FleetModel, policy: Policy, store: Store, readers: str = ALL) -> None:
        self.model, self._store, self._epochs_max = model, store, policy.limits.epochs_per_device_max
        self.heads = HeadPublisher(fleet, model, policy, store, readers)
        self.priors = Priors(fleet, model, policy, store, self.heads)

    def take(
        self,
        report: StatisticsReport,
        payload: bytes,
        known: StoredStatistics | None,
        stored: StatisticsReport | None,
    ) -> None:
        """Store and count a report that is newer than what is stored of its epoch, `known`; `stored`: that one, read,
        None where it cannot be. Raises RemoteError."""
        device, epoch, statistics, space = report.device, report.epoch, report.statistics, self.model.space
        old = None if stored is None or stored.statistics.space != space else stored.statistics
        problem = self.heads.sum.problem_with(statistics)
        problem = problem or self.heads.classes.problem_with(device, epoch, statistics)
        if problem is not None:
            raise Refused("space" if statistics.space != space else "limit", problem)
        self.model.check(statistics)
        if known is None and self._store.epoch_count(device) >= self._epochs_max:
            raise Refused("limit", f"{device} began more than {self._epochs_max} epochs; remove it or raise the limit")
        self.heads.put(known, StoredStatistics(device, epoch, report.counter, space, payload), old, statistics)
