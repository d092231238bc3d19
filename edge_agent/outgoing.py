"""Puts a device's message under its topic, with its content type, and says whether the broker is to retain it."""

from __future__ import annotations

from edge_agent.config import AgentConfig
from headway.ports import Outgoing
from headway.wire import JSON_TYPE, TENSORS_TYPE, Kind, topic

RETAINED = (
    Kind.STATUS, Kind.REPORTED, Kind.STATISTICS, Kind.TRIAL, Kind.CONFIGURATION_STATE, Kind.COMMAND_RESULTS,
    Kind.LABELS_WANTED,
)  # fmt: skip
BINARY = (Kind.STATISTICS, Kind.UPDATE)


def outgoing(config: AgentConfig, kind: Kind, payload: bytes, retained: bool = True) -> Outgoing:
    """retained: False where this one message must not replace what the broker retains of its kind."""
    content_type = TENSORS_TYPE if kind in BINARY else JSON_TYPE
    name = topic(config.fleet, config.device, kind)
    qos = config.answers.mqtt_qos if kind is Kind.ANSWERS else 1
    return Outgoing(name, payload, qos, retained and kind in RETAINED, content_type)
