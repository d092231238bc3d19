"""``edge-agent leave-home-assistant``: clears what the broker retains for Home Assistant, before an uninstall."""

from __future__ import annotations

from pathlib import Path

from edge_agent.commands.status import is_running
from edge_agent.config import read_config
from edge_agent.home_assistant import leave
from headway.errors import ConfigError
from headway.mqtt.transport import MqttTransport
from headway.ports import SystemClock


def leave_home_assistant(file: Path) -> tuple[str, ...]:
    """Returns the topics that were cleared. Raises ConfigError while an agent runs, and as `leave`."""
    config = read_config(file)
    if is_running(config):
        raise ConfigError(
            "the agent runs and would announce this device again: set home_assistant = false in [answers] and reload "
            "it, or stop it first"
        )
    return leave(config, SystemClock(), MqttTransport)
