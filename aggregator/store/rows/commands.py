"""Declares what is kept of commands to devices: each with its result, and which commands a device can do."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command. id: drawn at random, see `headway.wire.Command`; number: grows with every command of the fleet.

    arguments, detail: JSON texts; state: ``asked``, ``sent``, ``done``, ``failed`` or ``expired``, since since_s; who:
    as in the audit log. All times: wall clock.
    """

    device: str
    id: str
    number: int
    name: str
    arguments: str
    who: str
    created_s: float
    deadline_s: float
    state: str
    detail: str
    since_s: float


@dataclass(frozen=True, slots=True)
class SupportedCommandsRow:
    """Names of the commands that a device said it can do: a JSON list."""

    device: str
    names: str


@dataclass(frozen=True, slots=True)
class AskedWithRow:
    """By which act a command was asked for. act: drawn at random; the same for all devices that it was asked of."""

    device: str
    id: str
    act: str


DEVICE_COMMANDS = Collection("device_commands", CommandRow, ("device", "id"), indexed=("state",))
SUPPORTED_COMMANDS = Collection("supported_commands", SupportedCommandsRow, ("device",))
ASKED_WITH = Collection("asked_with", AskedWithRow, ("device", "id"), indexed=("act",))
