"""One feature space of a fleet: its sum, its heads and its priors, of which no other space has a part."""

from __future__ import annotations

from aggregator.effects import Refused
from aggregator.engine import Engine
from aggregator.heads.class_list import ClassList
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.priors import Priors
from aggregator.heads.publisher import HeadPublisher
from aggregator.policy import Policy
from aggregator.store import Store, StoredStatistics
from headway.maths import Statistics
from headway.wire import ALL, StatisticsReport


class Space:
    """Owns what one feature space needs. Every method must run inside a transaction of the store.

    readers: in whose place its heads' topic stands, see `headway.wire.space_name`; by default everybody. Raises
    BundleError as `HeadPublisher` does.
    """

    def __init__(
        self, fleet: str, model: FleetModel, policy: Policy, store: Store, readers: str = ALL,
        engine: Engine | None = None,
    ) -> None:  # fmt: skip
        self.model, self._store, self._epochs_max = model, store, policy.limits.epochs_per_device_max
        self.heads = HeadPublisher(fleet, model, policy, store, readers, engine)
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
        old = checked(report, stored, self.model, self.heads.sum, self.heads.classes)
        check_epochs(self._store, report.device, known, self._epochs_max)
        row = StoredStatistics(report.device, report.epoch, report.counter, self.model.space, payload)
        self.heads.put(known, row, old, report.statistics)


def checked(
    report: StatisticsReport,
    stored: StatisticsReport | None,
    model: FleetModel,
    fleet_sum: FleetSum,
    classes: ClassList,
) -> Statistics | None:
    """What counts of `stored`, in whose place a report comes; None for nothing. Raises RemoteError for a report that
    can have no part in the space. classes: knows at least what else is stored of the device."""
    statistics, space = report.statistics, model.space
    problem = fleet_sum.problem_with(statistics)
    problem = problem or classes.problem_with(report.device, report.epoch, statistics)
    if problem is not None:
        raise Refused("space" if statistics.space != space else "limit", problem)
    model.check(statistics)
    return None if stored is None or stored.statistics.space != space else stored.statistics


def check_same_space(report: StatisticsReport, known: StoredStatistics | None) -> None:
    """Raises Refused for a report of another feature space than what is stored of its epoch."""
    space = report.statistics.space
    if known is not None and known.space != space:
        problem = f"epoch {report.epoch} of {report.device} holds statistics of feature space {known.space[:12]}"
        raise Refused("space", f"{problem}; what it learns in {space[:12]} needs an epoch of its own")


def check_epochs(store: Store, device: str, known: StoredStatistics | None, epochs_max: int) -> None:
    """Raises Refused for one epoch of a device too many."""
    if known is None and store.epoch_count(device) >= epochs_max:
        raise Refused("limit", f"{device} began more than {epochs_max} epochs; remove it or raise the limit")
