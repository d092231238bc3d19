"""Sources of raw rows, and the sensor that makes windows of them."""

from edge_agent.sources.building import build_sensor, completed, open_source, source_factory
from edge_agent.sources.cutting import build_cutter
from edge_agent.sources.iio import IndustrialIO
from edge_agent.sources.joined import JoinedSensor
from edge_agent.sources.mqtt import BrokerTopics
from edge_agent.sources.ports import Rows, Source
from edge_agent.sources.stream_sensor import StreamSensor

__all__ = [
    "BrokerTopics",
    "IndustrialIO",
    "JoinedSensor",
    "Rows",
    "Source",
    "StreamSensor",
    "build_cutter",
    "build_sensor",
    "completed",
    "open_source",
    "source_factory",
]
