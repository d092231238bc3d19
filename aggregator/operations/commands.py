"""Commands to devices: what is asked of one, and what came of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.audit import NAMES_MAX
from aggregator.operations.marks import counted, group_view
from aggregator.operations.operator import Operator
from aggregator.registry import Request, device_names
from aggregator.remote_commands import Asking, ask, ask_many, asked_together, commands_of, supported_by
from aggregator.store import Store
from aggregator.store.rows import CommandRow
from headway.errors import ConfigError, UnknownNameError
from headway.fields import JsonValue
from headway.wire import EXPIRED, FAILED

COMMANDED_MAX = 10_000
PROBLEMS_MAX = 100


def command_device(
    operator: Operator, device: str, name: str, arguments: Mapping[str, JsonValue], seconds: float
) -> CommandRow:
    """Ask for a command that must begin within so many seconds; the running service sends it.

    Raises UnknownNameError, and ConfigError for what the device cannot be asked.
    """
    row = ask(operator.store, operator.the(device), name, arguments, operator.who, operator.now_s, seconds)
    told: dict[str, JsonValue] = {"arguments": {**arguments}, "id": row.id, "deadline_s": row.deadline_s}
    operator.did(f"command-{name}", device, **told)
    return row


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A device that was not asked, and why."""

    device: str
    problem: str


@dataclass(frozen=True, slots=True)
class Commanded:
    """What became of asking many: the number of the first command, 0 without any, and how many devices were asked.

    refused: how many could not be; problems: why, of the first ones.
    """

    number: int
    devices: int
    refused: int
    problems: list[NotAsked]


@dataclass(frozen=True, slots=True)
class CommandSummary:
    """What became of commands that were asked for together: how many devices are in each state.

    number: of the first that is kept; problems: of the first devices that failed or said nothing in time.
    """

    number: int
    name: str
    arguments: dict[str, int | str]
    who: str
    created_s: float
    deadline_s: float
    devices: int
    states: dict[str, int]
    problems: list[NotAsked]


def command_devices(
    operator: Operator, wanted: str, group: str, name: str, arguments: Mapping[str, JsonValue], seconds: float
) -> Commanded:
    """Ask every device that meets a filter now, or belongs to a group; each under an id of its own.

    Raises UnknownNameError for a group, and ConfigError for a filter that is none, for too many devices, for none.
    """
    if bool(wanted) == bool(group):
        raise ConfigError("give either a filter or a group")
    if group:
        group_view(operator, group)  # one that is not there has no devices, and would be told so
    names = device_names(operator.store, Request(wanted or f'group == "{group}"'), operator.now_s)
    if not names:
        raise ConfigError("no device is like that")
    if len(names) > COMMANDED_MAX:
        raise ConfigError(f"{len(names)} devices are like that; a command goes to {COMMANDED_MAX} at most")
    asking = Asking(name, arguments, operator.who, operator.now_s, seconds)
    rows, problems = ask_many(operator.store, names, asking)
    told: dict[str, JsonValue] = {"arguments": {**arguments}, "devices": [row.device for row in rows[:NAMES_MAX]]}
    number = rows[0].number if rows else 0
    operator.did(
        f"command-{name}", counted(len(rows)), filter=wanted, group=group, number=number, refused=len(problems), **told
    )
    shown = [NotAsked(*each) for each in [*problems.items()][:PROBLEMS_MAX]]
    return Commanded(number, len(rows), len(problems), shown)


def command_summary(store: Store, number: int) -> CommandSummary:
    """Of the commands that were asked for with this one. In a transaction. Raises UnknownNameError."""
    rows = together(store, number)
    first = min(rows, key=lambda row: row.number)
    states = Counter(row.state for row in rows)
    ended = [row for row in rows if row.state in (FAILED, EXPIRED)]
    problems = [NotAsked(row.device, str(json.loads(row.detail).get("problem", row.state))) for row in ended]
    return CommandSummary(
        first.number, first.name, json.loads(first.arguments), first.who, first.created_s, first.deadline_s, len(rows),
        dict(sorted(states.items())), problems[:PROBLEMS_MAX],
    )  # fmt: skip


def together(store: Store, number: int) -> list[CommandRow]:
    """The commands that were asked for with this one, by device. In a transaction. Raises UnknownNameError."""
    rows = asked_together(store, number)
    if not rows:
        raise UnknownNameError(f"no command {number} is kept; the last 50 of each device are")
    return rows


def takes_commands(operator: Operator, device: str) -> bool:
    """Whether a device has said that it does; older agents do not. Raises UnknownNameError."""
    return supported_by(operator.store, operator.the(device)) is not None


def can_do(operator: Operator, device: str, name: str) -> bool:
    """Whether a device has said that it does this command. Raises UnknownNameError."""
    return name in (supported_by(operator.store, operator.the(device)) or ())


def list_commands(operator: Operator, device: str) -> list[CommandRow]:
    """What was asked of a device, the oldest first. Raises UnknownNameError."""
    return commands_of(operator.store, operator.the(device))


def plain_command(row: CommandRow) -> dict[str, JsonValue]:
    """A command and its result, for JSON."""
    return {
        "number": row.number,
        "id": row.id, "device": row.device, "name": row.name, "arguments": json.loads(row.arguments), "who": row.who,
        "created_s": row.created_s, "deadline_s": row.deadline_s, "state": row.state, "state_since_s": row.since_s,
        "result": json.loads(row.detail),
    }  # fmt: skip
