"""From what devices learned to a better head: exact sums, federated averaging, publishing, priors."""

from aggregator.heads.averaging import Contribution, average, merged
from aggregator.heads.contributions import stored_report
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.priors import Priors
from aggregator.heads.publisher import VERSION_FLOOR, HeadPublisher
from aggregator.heads.told_sum import SET_BACK
from aggregator.heads.weighing import weighed

__all__ = [
    "SET_BACK",
    "VERSION_FLOOR",
    "Contribution",
    "FleetModel",
    "FleetSum",
    "HeadPublisher",
    "Priors",
    "average",
    "merged",
    "stored_report",
    "weighed",
]
