"""Commands to devices: what is asked of one, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aggregator.operations.operator import Operator
from aggregator.remote_commands import ask, commands_of, supported_by
from aggregator.store.rows import CommandRow
from headway.fields import JsonValue


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


def takes_commands(operator: Operator, device: str) -> bool:
    """Whether a device has said that it does; older agents do not. Raises UnknownNameError."""
    return supported_by(operator.store, operator.the(device)) is not None


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
