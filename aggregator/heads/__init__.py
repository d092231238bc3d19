"""From what devices learned to a better head: exact sums, federated averaging, publishing, priors."""

from aggregator.heads.averaging import Contribution, average
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.priors import Priors
from aggregator.heads.publisher import FleetModel, HeadPublisher, stored_report

__all__ = [
    "Contribution",
    "FleetModel",
    "FleetSum",
    "HeadPublisher",
    "Priors",
    "average",
    "stored_report",
]
