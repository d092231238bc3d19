"""Asks for a command: a row in the store, which the running service sends. Also reads what became of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from aggregator.remote_commands.states import ASKED, OPEN
from aggregator.store import Store
from aggregator.store.rows import DEVICE_COMMANDS, SUPPORTED_COMMANDS, CommandRow
from headway.errors import ConfigError
from headway.fields import JsonValue, canonical_json, nearest
from headway.wire import COMMANDS_MAX

# under which the store counts the commands of the fleet
COUNT = "device_commands"
ID_BYTES = 8
TEXT_CHARACTERS_MAX = 256
SECONDS_MAX = 30 * 86_400.0
# of each command its arguments, and of these the type and whether it must be given
ARGUMENTS: Mapping[str, Mapping[str, tuple[type, bool]]] = {
    "sync-now": {},
    "train-now": {},
    "ask-for-labels": {"count": (int, False)},
    "label": {"window": (str, True), "class": (str, True)},
    "undo-label": {"window": (str, True)},
    "skip-window": {"window": (str, True)},
    "restart": {},
    "diagnostics": {},
}


def ask(
    store: Store, device: str, name: str, arguments: Mapping[str, JsonValue], who: str, now_s: float, seconds: float
) -> CommandRow:
    """Ask for a command that must begin within so many seconds. In a transaction. now_s: wall clock.

    Raises ConfigError for a command that nobody knows, arguments that do not fit, or too many open ones.
    """
    if not 0 < seconds <= SECONDS_MAX:
        raise ConfigError(f"a deadline must be within {SECONDS_MAX / 86_400:g} days, got {seconds:g} s")
    _check(name, arguments)
    supported = supported_by(store, device)
    if supported is not None and name not in supported:
        raise ConfigError(f"{device} knows no command {name!r}; it can do: {', '.join(supported)}")
    if sum(row.state in OPEN for row in store.rows(DEVICE_COMMANDS).all(device)) >= COMMANDS_MAX:
        raise ConfigError(
            f"{COMMANDS_MAX} commands wait for {device} already; `edge-fleet commands {device}` shows them"
        )
    number = store.number(COUNT) + 1
    store.put_number(COUNT, number)
    text = canonical_json(dict(arguments)).decode()
    # not counted but drawn: a store that was set back must not use an id again that a device remembers
    row = CommandRow(
        device, secrets.token_hex(ID_BYTES), number, name, text, who, now_s, now_s + seconds, ASKED, "{}", now_s
    )
    store.rows(DEVICE_COMMANDS).put(row)
    return row


def commands_of(store: Store, device: str) -> list[CommandRow]:
    """What was asked of a device, the oldest first. In a transaction."""
    return sorted(store.rows(DEVICE_COMMANDS).all(device), key=lambda row: row.number)


def supported_by(store: Store, device: str) -> tuple[str, ...] | None:
    """What a device said it can do; None for one that has said nothing, as older agents do."""
    row = store.rows(SUPPORTED_COMMANDS).get(device)
    return None if row is None else tuple(json.loads(row.names))


def _check(name: str, arguments: Mapping[str, JsonValue]) -> None:
    if name not in ARGUMENTS:
        raise ConfigError(f"there is no command {name!r}{nearest(name, tuple(ARGUMENTS))}")
    known = ARGUMENTS[name]
    for key, value in arguments.items():
        if key not in known:
            raise ConfigError(f"command {name} has no argument {key!r}{nearest(key, tuple(known))}")
        kind = known[key][0]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfigError(f"{key} of command {name} must be {kind.__name__}, got {str(value)[:80]!r}")
        if isinstance(value, str) and not 0 < len(value) <= TEXT_CHARACTERS_MAX:
            raise ConfigError(f"{key} of command {name} must have 1 to {TEXT_CHARACTERS_MAX} characters")
    missing = [key for key, (_, required) in known.items() if required and key not in arguments]
    if missing:
        raise ConfigError(f"command {name} needs {missing[0]}=...")
