"""Asks for a command: a row in the store, which the running service sends. Also reads what became of it."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregator.remote_commands.states import ASKED, OPEN
from aggregator.store import Store
from aggregator.store.rows import ASKED_WITH, DEVICE_COMMANDS, SUPPORTED_COMMANDS, AskedWithRow, CommandRow
from headway.errors import ConfigError
from headway.fields import JsonValue, canonical_json, nearest

# that wait for a device, which is given 16 at a time
OPEN_MAX = 128
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
    "roll-back": {"release": (int, False)},
    "renew-prior": {},
    "forget-class": {"class": (str, True)},
    "diagnostics": {},
}


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, by whom, and when. now_s: wall clock; seconds: within which it must begin."""

    name: str
    arguments: Mapping[str, JsonValue]
    who: str
    now_s: float
    seconds: float


def ask(
    store: Store, device: str, name: str, arguments: Mapping[str, JsonValue], who: str, now_s: float, seconds: float
) -> CommandRow:
    """Ask for a command that must begin within so many seconds. In a transaction. now_s: wall clock.

    Raises ConfigError for a command that nobody knows, arguments that do not fit, or too many open ones.
    """
    rows, problems = ask_many(store, [device], Asking(name, arguments, who, now_s, seconds))
    if problems:
        raise ConfigError(f"{problems[device]}; `edge-fleet commands {device}` shows what it was asked")
    return rows[0]


def ask_many(store: Store, devices: Sequence[str], asking: Asking) -> tuple[list[CommandRow], dict[str, str]]:
    """Ask each of several devices, under an id of its own; also why others of them cannot be asked. In a transaction.

    Raises ConfigError for a command that nobody knows, or arguments that do not fit.
    """
    if not 0 < asking.seconds <= SECONDS_MAX:
        raise ConfigError(f"a deadline must be within {SECONDS_MAX / 86_400:g} days, got {asking.seconds:g} s")
    _check(asking.name, asking.arguments)
    problems = _problems(store, devices, asking.name)
    number, text = store.number(COUNT), canonical_json(dict(asking.arguments)).decode()
    rows = []
    for device in devices:
        if device not in problems:
            number += 1
            # not counted but drawn: a store that was set back must not use an id again that a device remembers
            rows.append(CommandRow(
                device, secrets.token_hex(ID_BYTES), number, asking.name, text, asking.who, asking.now_s,
                asking.now_s + asking.seconds, ASKED, "{}", asking.now_s,
            ))  # fmt: skip
    store.put_number(COUNT, number)
    store.rows(DEVICE_COMMANDS).put_all(rows)
    act = secrets.token_hex(ID_BYTES)
    store.rows(ASKED_WITH).put_all([AskedWithRow(row.device, row.id, act) for row in rows])
    return rows, problems


def asked_together(store: Store, number: int) -> list[CommandRow]:
    """The commands that were asked for with the one of this number, by device; none where it is not kept any more."""
    rows = store.rows(DEVICE_COMMANDS)
    for row in rows.where(number=number):
        alike = rows.where(
            created_s=row.created_s, name=row.name, who=row.who, deadline_s=row.deadline_s, arguments=row.arguments
        )
        acts = store.rows(ASKED_WITH)
        own = acts.get(row.device, row.id)
        if own is None:
            # of a release that kept no acts: what was asked for at that moment, in the same words
            same = [one for one in alike if acts.get(one.device, one.id) is None]
        else:
            asked = {(one.device, one.id) for one in acts.where(act=own.act)}
            same = [one for one in alike if (one.device, one.id) in asked]
        return sorted(same, key=lambda one: one.device)
    return []


def forget_command(store: Store, device: str, id: str) -> None:
    """One that is kept no longer. In a transaction."""
    store.rows(DEVICE_COMMANDS).remove(device, id)
    store.rows(ASKED_WITH).remove(device, id)


def _problems(store: Store, devices: Sequence[str], name: str) -> dict[str, str]:
    """Why devices cannot be asked, by their names."""
    rows, one = store.rows(DEVICE_COMMANDS), devices[0] if len(devices) == 1 else ""
    told = store.rows(SUPPORTED_COMMANDS).all(*([one] if one else []))
    supported = {row.device: tuple(json.loads(row.names)) for row in told}
    found = rows.all(one) if one else [row for state in OPEN for row in rows.where(state=state)]
    waiting = Counter(row.device for row in found if row.state in OPEN)
    problems = {}
    for device in devices:
        if device in supported and name not in supported[device]:
            problems[device] = f"{device} knows no command {name!r}; it can do: {', '.join(supported[device])}"
        elif waiting[device] >= OPEN_MAX:
            problems[device] = f"{OPEN_MAX} commands wait for {device} already"
    return problems


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
