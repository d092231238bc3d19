"""Where windows come from."""

from edge_agent.sensors.ports import Claimed, Sensor
from edge_agent.sensors.spool import Spool

__all__ = [
    "Claimed",
    "Sensor",
    "Spool",
]
