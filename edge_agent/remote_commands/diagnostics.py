"""Gathers what an operator looks at when a device behaves oddly: bounded in bytes, without secrets.

Everything since the process began, so also of a time without a network: the newest log lines, what is wrong and since
when, counters, and those settings that may be changed from afar. Names of users, passwords and keys stay on the device.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from edge_agent.agent import Agent
from edge_agent.condition import DeviceCondition
from edge_agent.config import AgentConfig
from edge_agent.remote import in_force
from edge_agent.store import RetryingStore
from headway.errors import ConfigError, StoreError
from headway.fields import JsonValue, canonical_json
from headway.wire import DETAIL_BYTES_MAX, Reported

CONDITION_BYTES_MAX = 8 * 1024
# of everything but the log
BYTES_MAX = DETAIL_BYTES_MAX * 3 // 4
SECRET_CHARACTERS_MIN = 4
HIDDEN = "***"
SECRET = re.compile(r"(?i)\b([a-z_]*(?:password|passwd|secret|token|code|credential)s?['\"]?\s*[=:]\s*)\S+")
IN_ADDRESS = re.compile(r"(//)[^/\s@]+@")
KEY_BLOCK = re.compile(r"-----BEGIN [^-]*-----.*?(?:-----END [^-]*-----|$)", re.DOTALL)
HOME = re.compile(r"(/home/)[^/\s'\"]+")


def gather_diagnostics(
    config: AgentConfig,
    agent: Agent,
    store: RetryingStore,
    reported: Reported,
    condition: DeviceCondition,
    lines: list[str],
) -> dict[str, JsonValue]:
    """lines: of the log, oldest first. At most `DETAIL_BYTES_MAX` bytes as JSON: the oldest lines are left out."""
    state = agent.sync_state
    try:
        outbox_rows, outbox_bytes = store.outbox_size()
    except StoreError:
        outbox_rows = outbox_bytes = -1  # the condition says what is wrong with the disk
    found: dict[str, JsonValue] = {
        "reported": {name: value for name, value in asdict(reported).items() if name != "problem"},
        "condition": json.loads(condition.encode(CONDITION_BYTES_MAX)),
        "sync": {"epoch": state.epoch, "counter": state.counter, "acknowledged": state.acked, "boot": state.boot},
        "labels_waiting": len(agent.labelling.queue),
        "windows_remembered": len(agent.windows),
        "outbox_rows": outbox_rows,
        "outbox_bytes": outbox_bytes,
        "settings": dict[str, JsonValue](in_force(config)),
    }
    secrets = secrets_of(config)
    safe = {name: _redacted_value(value, secrets) for name, value in found.items()}
    for name in ("settings", "condition", "reported"):
        if len(canonical_json(safe)) > BYTES_MAX:
            del safe[name]
    room = DETAIL_BYTES_MAX - len(canonical_json(safe)) - len('"log":[],')
    kept: list[JsonValue] = []
    for line in reversed(lines):
        text = redacted(line, secrets)
        room -= len(canonical_json(text)) + 1
        if room < 0:
            break
        kept.append(text)
    return {**safe, "log": kept[::-1]}


def redacted(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Without these words, and without what looks like a password, a key, or the name of a person."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = KEY_BLOCK.sub(HIDDEN, text)
    text = SECRET.sub(rf"\1{HIDDEN}", text)
    return HOME.sub(rf"\1{HIDDEN}", IN_ADDRESS.sub(rf"\1{HIDDEN}@", text))


def secrets_of(config: AgentConfig) -> tuple[str, ...]:
    """Words that must not leave the device: no log line should hold the password; if one does, it stays here."""
    try:
        password = None if config.mqtt is None else config.mqtt.password()
    except ConfigError:
        return ()  # it cannot be read now, which the link's state tells
    return (password,) if password is not None and len(password) >= SECRET_CHARACTERS_MIN else ()


def _redacted_value(value: JsonValue, secrets: tuple[str, ...]) -> JsonValue:
    match value:
        case str():
            return redacted(value, secrets)
        case dict():
            return {name: _redacted_value(item, secrets) for name, item in value.items()}
        case list():
            return [_redacted_value(item, secrets) for item in value]
        case _:
            return value
