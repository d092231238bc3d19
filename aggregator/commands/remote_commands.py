"""Implements `edge-fleet command` and `commands`: what a device is told to do, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from aggregator.commands.moments import age, moment
from aggregator.commands.tables import aligned, print_table
from aggregator.operations import CommandSummary, NotAsked
from aggregator.reach import Fleet
from aggregator.remote_commands import ARGUMENTS, OPEN
from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.printable import printable
from headway.wire import DONE, EXPIRED, FAILED

if TYPE_CHECKING:
    from headway_client.models import DeviceCommand

HEADER, NUMBERS = ("NUMBER", "COMMAND", "STATE", "ASKED", "BY", "RESULT"), frozenset({"NUMBER", "ASKED"})
WAIT_POLL_S = 0.05
WAIT_MANY_POLL_S = 0.5
PROBLEMS_SHOWN_MAX = 10
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
    _check_wait(wait_s)
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


def command_many(
    fleet: Fleet,
    clock: Clock,
    wanted: str,
    group: str,
    name: str,
    given: Sequence[str],
    expires: str,
    wait_s: float,
    in_json: bool,
) -> int:
    """``edge-fleet command --filter/--group``. Returns 1 when it was waited for and not all was done."""
    _check_wait(wait_s)
    told = fleet.command_many(wanted, group, name, dict(_argument(name, text) for text in given), expires)
    if not told.number:
        first = told.problems[0].problem
        raise ConfigError(f"none of {told.refused} devices can be asked to {name}; the first: {first}")
    summary = fleet.command_summary(told.number)
    if wait_s:
        deadline_s = clock.monotonic_s() + wait_s
        while any(state in OPEN for state in summary.states) and clock.monotonic_s() < deadline_s:
            time.sleep(WAIT_MANY_POLL_S)
            summary = fleet.command_summary(told.number)
    if in_json:
        plain = asdict(summary)
        problems = [asdict(each) for each in told.problems]
        print(readable_json({**plain, "refused": told.refused, "refusals": problems}))
    else:
        print(f"asked {_devices(told.devices)} to {name}; `edge-fleet commands --with {told.number}` shows the rest")
        if told.refused:
            print(f"not asked: {_devices(told.refused)}")
            _print_problems(told.problems, told.refused)
        if wait_s:
            _print_summary(summary)
    return int(bool(wait_s) and set(summary.states) != {DONE})


def show_many(fleet: Fleet, number: int, in_json: bool) -> None:
    """``edge-fleet commands --with``. Raises ConfigError when no such command is kept."""
    if in_json:
        print(readable_json([_plain(command) for command in fleet.commands_with(number)]))
        return
    summary = fleet.command_summary(number)
    words = " ".join([summary.name, *(f"{key}={value}" for key, value in summary.arguments.items())])
    print(printable(f"{words}, asked by {summary.who} at {moment(summary.created_s)} UTC"))
    _print_summary(summary)


def _print_summary(summary: CommandSummary) -> None:
    print(
        ", ".join(f"{state}: {count}" for state, count in summary.states.items()) + f" of {_devices(summary.devices)}"
    )
    _print_problems(summary.problems, sum(summary.states.get(state, 0) for state in (FAILED, EXPIRED)))


def _print_problems(problems: Sequence[NotAsked], count: int) -> None:
    for each in problems[:PROBLEMS_SHOWN_MAX]:
        print(printable(f"  {each.device}: {each.problem}"))
    if count > PROBLEMS_SHOWN_MAX:
        print(f"  and {count - PROBLEMS_SHOWN_MAX} more (--json: all of them)")


def _devices(count: int) -> str:
    return f"{count} device" + ("s" if count != 1 else "")


def _check_wait(wait_s: float) -> None:
    if not 0 <= wait_s <= WAIT_S_MAX:
        raise ConfigError(f"--wait-s must be from 0 to {WAIT_S_MAX:g}, got {wait_s:g}")


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
    asked = age(now_s - command["created_s"])
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
