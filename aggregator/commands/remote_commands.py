"""Implements `edge-fleet command` and `commands`: what a device is told to do, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from aggregator.commands.tables import aligned, print_table
from aggregator.reach import Fleet
from aggregator.remote_commands import ARGUMENTS, OPEN
from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.printable import printable
from headway.wire import DONE

if TYPE_CHECKING:
    from headway_client.models import DeviceCommand

HEADER, NUMBERS = ("NUMBER", "COMMAND", "STATE", "ASKED", "BY", "RESULT"), frozenset({"NUMBER", "ASKED"})
WAIT_POLL_S = 0.05
WAIT_S_MAX = 86_400.0
RESULT_CHARACTERS_SHOWN = 160


def command_device(
    fleet: Fleet,
    clock: Clock,
    device: str,
    name: str,
    given: Sequence[str],
    expires: str,
    wait_s: float,
    in_json: bool,
) -> int:
    """``edge-fleet command``. Returns 1 when it was waited for and was not done. Raises ConfigError."""
    if not 0 <= wait_s <= WAIT_S_MAX:
        raise ConfigError(f"--wait-s must be from 0 to {WAIT_S_MAX:g}, got {wait_s:g}")
    command = fleet.command(device, name, dict(_argument(name, text) for text in given), expires)
    if wait_s:
        command = _ended(fleet, clock, command, wait_s)
    if in_json:
        print(readable_json(_plain(command)))
    elif command["state"] not in OPEN:
        print(f"{name}: {command['state']}{_after_colon(command)}")
    else:
        hint = "" if command["takes_commands"] else "; it has not said that it takes commands"
        print(f"asked {device} to {name}{hint}; `edge-fleet commands {device}` shows what comes of it")
    return int(bool(wait_s) and command["state"] != DONE)


def list_commands(fleet: Fleet, clock: Clock, device: str, in_json: bool) -> None:
    """``edge-fleet commands``. Raises ConfigError when no such device is known."""
    commands = fleet.commands(device)
    if in_json:
        print(readable_json([_plain(command) for command in commands]))
    elif commands:
        lines = [_line(command, clock.wall_s()) for command in commands]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print(f"nothing was asked of {device}")


def _ended(fleet: Fleet, clock: Clock, command: DeviceCommand, wait_s: float) -> DeviceCommand:
    deadline_s = clock.monotonic_s() + wait_s
    while command["state"] in OPEN and clock.monotonic_s() < deadline_s:
        time.sleep(WAIT_POLL_S)
        found = [other for other in fleet.commands(command["device"]) if other["id"] == command["id"]]
        if not found:
            raise ConfigError(f"device {command['device']} was removed meanwhile")
        command = found[0]
    return command


def _plain(command: DeviceCommand) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", {**command})


def _argument(name: str, text: str) -> tuple[str, JsonValue]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{text!r} is no argument; write name=value, window=w17 for example")
    if ARGUMENTS.get(name, {}).get(key, (str, False))[0] is int and value.isascii() and value.isdigit():
        return key, int(value[:16])
    return key, value


def _line(command: DeviceCommand, now_s: float) -> tuple[str, ...]:
    words = " ".join([command["name"], *(f"{key}={value}" for key, value in command["arguments"].items())])
    asked = f"{max(now_s - command['created_s'], 0.0) / 3600:.1f} h ago"
    who = printable(command["who"])
    return str(command["number"]), printable(words), command["state"], asked, who, _result(command)


def _after_colon(command: DeviceCommand) -> str:
    return f": {_result(command)}" if _result(command) else ""


def _result(command: DeviceCommand) -> str:
    """In one line; all of it with --json."""
    detail = command["result"]
    words = ", ".join(f"{key} {value}" for key, value in detail.items() if key != "problem")
    text = printable("; ".join(filter(None, (str(detail.get("problem", "")), words))))
    return text if len(text) <= RESULT_CHARACTERS_SHOWN else f"{text[:RESULT_CHARACTERS_SHOWN]}... (--json: all of it)"
