"""From what devices learned to a better head: exact sums, federated averaging, publishing, priors."""

from aggregator.heads.averaging import Contribution, average, merged
from aggregator.heads.contributions import stored_report
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.influence import Influences, influences
from aggregator.heads.publisher import VERSION_FLOOR
from aggregator.heads.spaces import Bundles, Spaces
from aggregator.heads.sum_check import check_sums
from aggregator.heads.told_cautions import SET_BACK
from aggregator.heads.weighing import weighed

__all__ = [
    "SET_BACK",
    "VERSION_FLOOR",
    "Bundles",
    "Contribution",
    "FleetModel",
    "FleetSum",
    "Influences",
    "Spaces",
    "average",
    "check_sums",
    "influences",
    "merged",
    "stored_report",
    "weighed",
]
