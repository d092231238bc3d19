"""The first place: the fleet in five numbers, and every device, worst first."""

from aggregator.page.fleet.bars import Bar, bar_of, bar_of_heads, recent_days, recent_spans
from aggregator.page.fleet.numbers import pulse_of
from aggregator.page.fleet.routes import fleet_routes

__all__ = ["Bar", "bar_of", "bar_of_heads", "fleet_routes", "pulse_of", "recent_days", "recent_spans"]
