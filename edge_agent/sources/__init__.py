"""Sources of raw rows, and the sensor that makes windows of them."""

from edge_agent.sources.building import build_sensor, source_factory
from edge_agent.sources.joined import JoinedSensor
from edge_agent.sources.ports import Rows, Source
from edge_agent.sources.stream_sensor import StreamSensor

__all__ = [
    "JoinedSensor",
    "Rows",
    "Source",
    "StreamSensor",
    "build_sensor",
    "source_factory",
]
