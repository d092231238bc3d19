"""Implements `edge-agent init`: the commented agent.toml with the few values that each device must give."""

from __future__ import annotations

import os
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import read_config
from edge_agent.enrolment import join_fleet
from edge_agent.example import example, is_untouched, with_values, without_table
from edge_agent.runtime import open_runtime
from headway.bundle import read_variant
from headway.durable import write_durably
from headway.errors import ConfigError, StoreError

CONNECT_TIMEOUT_S = 5.0
ADVICE = "run this with sudo, or give --config a file of your own"
BESIDE_THE_FILE: dict[str, object] = {
    "storage.state_dir": "state",
    "sensor.spool_dir": "spool",
    "sensor.predictions_dir": "predictions",
}


@dataclass(frozen=True, slots=True)
class FirstValues:
    """What is asked. broker: "HOST", "HOST:PORT" or "" for none; join: address and code, or None."""

    bundle: Path
    device: str
    fleet: str = "default"
    broker: str = ""
    join: tuple[str, str] | None = None


def write_first_configuration(config: Path, values: FirstValues, *, replace: bool) -> list[str]:
    """Write agent.toml and check what it names; what was found, in words. An edited file stays unless `replace`.

    A file outside /etc has state and spool beside it, so that its owner can run the agent.
    Raises ConfigError, StoreError, BundleError, RuntimeUnavailableError before anything is written; with `join` also
    what joining raises.
    """
    if config.exists() and not replace and not is_untouched(config):
        raise ConfigError(f"{config} was edited before and stays; --replace writes it anew")
    _check_folder(config)
    variant = read_variant(values.bundle)
    runtime = open_runtime(variant)
    said = [f"bundle {variant.name} {variant.version} runs on {runtime.name}"]
    settings: dict[str, object] = {
        "device.id": values.device,
        "device.fleet": values.fleet,
        "bundle.path": os.path.abspath(values.bundle),
    }
    if not belongs_to_system(config):
        settings |= BESIDE_THE_FILE
    if values.join is not None:
        said += join_fleet(*values.join, values.device, config, replace=replace).splitlines()[:1]
        settings |= _joined_settings(config)
    elif values.broker:
        host, port = broker_address(values.broker)
        settings |= {"mqtt.host": host, "mqtt.port": port}
    text = with_values(example(), settings)
    if values.join is None and not values.broker:
        text = without_table(text, "mqtt")
    _write_checked(config, text)
    said.append(f"wrote {config}")
    if values.broker and values.join is None:
        said.append(_reached(*broker_address(values.broker)))
    return said


def _joined_settings(config: Path) -> dict[str, object]:
    """What joining wrote of the device and its broker."""
    found = tomllib.loads(config.read_text(encoding="utf-8"))
    return {f"{table}.{key}": value for table in ("device", "mqtt") for key, value in found[table].items()}


def belongs_to_system(config: Path) -> bool:
    """Whether it is a service's, whose folders are the system's; anybody's own configuration has them beside it."""
    return config.absolute().is_relative_to("/etc")


def _check_folder(config: Path) -> None:
    """Make it; raises StoreError before a code is spent where nothing can be written there."""
    try:
        config.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {config.parent}: {error.strerror}; {ADVICE}") from error
    if not os.access(config.parent, os.W_OK):
        raise StoreError(f"you may not write to {config.parent}; {ADVICE}")


def _write_checked(config: Path, text: str) -> None:
    """Written beside the old file and read as the agent reads it, before it takes its place."""
    draft = config.with_name(f".{config.name}.new")
    try:
        write_durably(draft, text.encode(), 0o644)
        read_config(draft)
        draft.rename(config)
    except OSError as error:
        raise StoreError(f"cannot write {config}: {error.strerror}; {ADVICE}") from error
    finally:
        draft.unlink(missing_ok=True)


def broker_address(broker: str) -> tuple[str, int]:
    """Of HOST or HOST:PORT. Raises ConfigError."""
    host, colon, port = broker.rpartition(":")
    if not colon:
        return broker, 1883
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"--broker is HOST or HOST:PORT, not {broker!r}")
    return host.strip("[]"), int(port)


def _reached(host: str, port: int) -> str:
    """Whether the broker answers now; a device need not be online to be set up."""
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"warning: broker {host}:{port} does not answer now ({error.strerror or error}); the agent keeps trying"
    return f"broker {host}:{port} answers"
