"""Sources of windows: the spool folder, and the protocol for others."""

from edge_agent.sensors.folder_watch import FolderWatch
from edge_agent.sensors.formats import WindowFormat
from edge_agent.sensors.ports import Claimed, MoreTime, Sensor
from edge_agent.sensors.spool import Spool

__all__ = [
    "Claimed",
    "FolderWatch",
    "MoreTime",
    "Sensor",
    "Spool",
    "WindowFormat",
]
