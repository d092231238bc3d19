"""The commands of ``edge-fleet``: serve, devices, remove, deliver, deliveries, and simulate from elsewhere."""

from aggregator.commands.program import edge_fleet

__all__ = [
    "edge_fleet",
]
