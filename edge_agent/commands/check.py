"""``edge-agent check``: whether an agent could start with this agent.toml, without starting one."""

from __future__ import annotations

from pathlib import Path

from edge_agent.config import read_config
from edge_agent.reloading import checked_files


def check_configuration(file: Path) -> str:
    """Read the file and everything that it names; what it says, in words.

    Raises ConfigError, BundleError: what is wrong, the value and the fix, as a start would.
    """
    config = read_config(file)
    variant = checked_files(config)
    mqtt = config.mqtt
    link = "no broker: it works offline"
    if mqtt is not None:
        link = f"broker {mqtt.host}:{mqtt.port}{' over TLS' if mqtt.tls else ''}"
    if config.sync.head_keys is not None:
        link += f", heads sealed by a key in {config.sync.head_keys}"
    bundle = f"bundle {variant.name} {variant.version} ({len(variant.classes)} classes)"
    return f"{file} is good: device {config.device}, fleet {config.fleet}, {bundle}, {link}"
