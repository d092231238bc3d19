"""Codecs of the commands that a device is given and of what became of them. protocol.md, 4.23 and 4.26."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.errors import HeadwayError, RemoteError
from headway.fields import Fields, JsonValue, canonical_json
from headway.wire.codec import SCHEMA, finished, json_fields

COMMAND_ID = re.compile(r"[0-9a-f]{16}")
COMMAND_NAME = re.compile(r"[a-z][a-z-]{0,31}")
COMMANDS_MAX = 16
RESULTS_MAX = 32
SUPPORTED_MAX = 64
ARGUMENTS_BYTES_MAX = 2048
# diagnostics are the longest: a message takes three of them
DETAIL_BYTES_MAX = 32 * 1024
RESULTS_BYTES_MAX = 112 * 1024
RESULT_STATES = DONE, FAILED, EXPIRED = "done", "failed", "expired"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. id: 16 hexadecimal digits, drawn at random: what has it is the same command, and is done once.

    arguments: by name, see protocol.md, 5.12. deadline_s: wall clock; from then on it must not be begun any more.
    """

    id: str
    name: str
    arguments: Mapping[str, JsonValue]
    deadline_s: float

    def to_json(self) -> JsonValue:
        arguments = dict(self.arguments)
        return {"id": self.id, "name": self.name, "arguments": arguments, "deadline_s": self.deadline_s}


@dataclass(frozen=True, slots=True)
class Commands:
    """All commands of a device whose results the aggregator does not have yet, in the order in which to do them.

    Retained: a later message replaces an earlier one. A result whose command is not listed has arrived.
    """

    commands: tuple[Command, ...] = ()

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "commands": [command.to_json() for command in self.commands]})

    @classmethod
    def decode(cls, payload: bytes) -> Commands:
        """Raises RemoteError."""
        fields = json_fields(payload, "commands")
        rows = _rows(fields, "commands", COMMANDS_MAX)
        commands = tuple(map(_read_command, rows))
        if len({command.id for command in commands}) != len(commands):
            raise RemoteError("commands names an id twice")
        return finished(fields, cls(commands))


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command. state: ``done``, ``failed`` or ``expired``, which was not begun before its deadline.

    detail: figures and words, by the command's name; ``problem`` says why it failed. at_s: wall clock.
    """

    id: str
    state: str
    detail: Mapping[str, JsonValue] = field(default_factory=dict)
    at_s: float = 0.0

    def to_json(self) -> JsonValue:
        return {"id": self.id, "state": self.state, "detail": dict(self.detail), "at_s": self.at_s}

    @classmethod
    def read(cls, fields: Fields) -> CommandResult:
        """Inverse of `to_json`. Raises the error of `fields`."""
        result = cls(
            _id(fields),
            fields.choice("state", RESULT_STATES),
            _bounded(fields, "detail", DETAIL_BYTES_MAX),
            fields.number("at_s", low=0.0),
        )
        return finished(fields, result)


@dataclass(frozen=True, slots=True)
class CommandResults:
    """Which commands a device can do, and every result that the aggregator may not have yet. Retained.

    A device that never sent this message is given no command.
    """

    supported: tuple[str, ...] = ()
    results: tuple[CommandResult, ...] = ()

    def encode(self) -> bytes:
        results = [result.to_json() for result in self.results]
        return canonical_json({"schema": SCHEMA, "supported": list(self.supported), "results": results})

    @classmethod
    def decode(cls, payload: bytes) -> CommandResults:
        """Raises RemoteError."""
        fields = json_fields(payload, "command-results")
        supported = fields.strings("supported", count_max=SUPPORTED_MAX)
        for name in supported:
            _checked_word(name, COMMAND_NAME, "the name of a command", RemoteError)
        rows = _rows(fields, "results", RESULTS_MAX)
        results = tuple(map(CommandResult.read, rows))
        if len({result.id for result in results}) != len(results):
            raise RemoteError("command-results names an id twice")
        return finished(fields, cls(supported, results))


def results_that_fit(results: tuple[CommandResult, ...]) -> tuple[CommandResult, ...]:
    """The first of them that one message takes; the others follow when these have arrived."""
    taken, size_bytes = list[CommandResult](), 0
    for result in results[:RESULTS_MAX]:
        size_bytes += len(canonical_json(result.to_json()))
        if taken and size_bytes > RESULTS_BYTES_MAX:
            break
        taken.append(result)
    return tuple(taken)


def _read_command(fields: Fields) -> Command:
    name = _checked_word(fields.text("name"), COMMAND_NAME, "the name of a command", fields.error)
    arguments = _bounded(fields, "arguments", ARGUMENTS_BYTES_MAX)
    return finished(fields, Command(_id(fields), name, arguments, fields.number("deadline_s", low=0.0)))


def _rows(fields: Fields, key: str, count_max: int) -> list[Fields]:
    if not fields.has(key):
        raise fields.error(f"{fields.where} lacks {key!r}")
    return fields.tables(key, count_max=count_max)


def _id(fields: Fields) -> str:
    return _checked_word(fields.text("id"), COMMAND_ID, "the id of a command", fields.error)


def _checked_word(text: str, form: re.Pattern[str], what: str, error: type[HeadwayError]) -> str:
    if not form.fullmatch(text):
        raise error(f"{text[:60]!r} is not {what} ({form.pattern})")
    return text


def _bounded(fields: Fields, key: str, bytes_max: int) -> Mapping[str, JsonValue]:
    table = fields.mapping(key)
    if len(canonical_json(table)) > bytes_max:
        raise fields.error(f"{key} of {fields.where} has more than {bytes_max} bytes")
    return table
