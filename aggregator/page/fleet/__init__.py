"""The first place: the fleet in five numbers, and every device, worst first."""

from aggregator.page.fleet.bars import Bar, bar_of, recent_days
from aggregator.page.fleet.numbers import pulse_of
from aggregator.page.fleet.routes import fleet_routes

__all__ = ["Bar", "bar_of", "fleet_routes", "pulse_of", "recent_days"]
