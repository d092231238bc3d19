"""Implements `edge-fleet command` and `commands`: what a device is told to do, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from aggregator import operations
from aggregator.commands.tables import aligned, print_table
from aggregator.operations import Operator
from aggregator.remote_commands import ARGUMENTS, OPEN, supported_by
from aggregator.store import Store
from aggregator.store.rows import DEVICE_COMMANDS, CommandRow
from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.printable import printable
from headway.wire import DONE

HEADER, NUMBERS = ("NUMBER", "COMMAND", "STATE", "ASKED", "BY", "RESULT"), frozenset({"NUMBER", "ASKED"})
WAIT_POLL_S = 0.05
WAIT_S_MAX = 86_400.0
RESULT_CHARACTERS_SHOWN = 160


def command_device(
    store: Store,
    clock: Clock,
    device: str,
    name: str,
    given: Sequence[str],
    seconds: float,
    wait_s: float,
    in_json: bool,
) -> int:
    """``edge-fleet command``. Returns 1 when it was waited for and was not done. Raises ConfigError."""
    if not 0 <= wait_s <= WAIT_S_MAX:
        raise ConfigError(f"--wait-s must be from 0 to {WAIT_S_MAX:g}, got {wait_s:g}")
    arguments = dict(_argument(name, text) for text in given)
    with store.transaction():
        row = operations.command_device(Operator.local(store, clock), device, name, arguments, seconds)
        silent = supported_by(store, device) is None
    if wait_s:
        row = _ended(store, clock, row, wait_s)
    if in_json:
        print(readable_json(operations.plain_command(row)))
    elif row.state not in OPEN:
        print(f"{name}: {row.state}{_after_colon(row)}")
    else:
        hint = "; it has not said that it takes commands" if silent else ""
        print(f"asked {device} to {name}{hint}; `edge-fleet commands {device}` shows what comes of it")
    return int(bool(wait_s) and row.state != DONE)


def list_commands(store: Store, clock: Clock, device: str, in_json: bool) -> None:
    """``edge-fleet commands``. Raises ConfigError when no such device is known."""
    with store.transaction():
        rows = operations.list_commands(Operator.local(store, clock), device)
    if in_json:
        print(readable_json([operations.plain_command(row) for row in rows]))
    elif rows:
        lines = [_line(row, clock.wall_s()) for row in rows]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print(f"nothing was asked of {device}")


def _ended(store: Store, clock: Clock, row: CommandRow, wait_s: float) -> CommandRow:
    deadline_s = clock.monotonic_s() + wait_s
    while row.state in OPEN and clock.monotonic_s() < deadline_s:
        time.sleep(WAIT_POLL_S)
        with store.transaction():
            found = store.rows(DEVICE_COMMANDS).get(row.device, row.id)
        if found is None:
            raise ConfigError(f"device {row.device} was removed meanwhile")
        row = found
    return row


def _argument(name: str, text: str) -> tuple[str, JsonValue]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{text!r} is no argument; write name=value, window=w17 for example")
    if ARGUMENTS.get(name, {}).get(key, (str, False))[0] is int and value.isascii() and value.isdigit():
        return key, int(value[:16])
    return key, value


def _line(row: CommandRow, now_s: float) -> tuple[str, ...]:
    words = " ".join([row.name, *(f"{key}={value}" for key, value in json.loads(row.arguments).items())])
    asked = f"{max(now_s - row.created_s, 0.0) / 3600:.1f} h ago"
    return str(row.number), printable(words), row.state, asked, printable(row.who), _result(row)


def _after_colon(row: CommandRow) -> str:
    return f": {_result(row)}" if _result(row) else ""


def _result(row: CommandRow) -> str:
    """In one line; all of it with --json."""
    detail = json.loads(row.detail)
    words = ", ".join(f"{key} {value}" for key, value in detail.items() if key != "problem")
    text = printable("; ".join(filter(None, (str(detail.get("problem", "")), words))))
    return text if len(text) <= RESULT_CHARACTERS_SHOWN else f"{text[:RESULT_CHARACTERS_SHOWN]}... (--json: all of it)"
