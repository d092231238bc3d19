"""``edge-agent check``: whether an agent could start with this agent.toml, without starting one."""

from __future__ import annotations

from pathlib import Path

from edge_agent.config import AgentConfig, read_config
from headway.bundle import Variant, read_public_key, read_variant
from headway.mqtt.tls import tls_context


def check_configuration(file: Path) -> str:
    """Read the file and everything that it names; what it says, in words.

    Raises ConfigError, BundleError: what is wrong, the value and the fix, as a start would.
    """
    config = read_config(file)
    variant = read_configured_bundle(config)
    mqtt = config.mqtt
    link = "no broker: it works offline"
    if mqtt is not None:
        mqtt.password()
        tls_context(mqtt)
        link = f"broker {mqtt.host}:{mqtt.port}{' over TLS' if mqtt.tls else ''}"
    bundle = f"bundle {variant.name} {variant.version} ({len(variant.classes)} classes)"
    return f"{file} is good: device {config.device}, fleet {config.fleet}, {bundle}, {link}"


def read_configured_bundle(config: AgentConfig) -> Variant:
    """The bundle that agent.toml names, its signature checked where a key is given. Raises BundleError, ConfigError."""
    key = None if config.public_key is None else read_public_key(config.public_key)
    return read_variant(config.bundle, public_key=key)
