"""Codecs of the messages that change a device's settings from afar and tell which hold. protocol.md, 4.21 and 4.22."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.errors import HeadwayError, RemoteError
from headway.fields import Fields, JsonValue, canonical_json
from headway.printable import is_printable
from headway.wire.codec import SCHEMA, finished, json_fields

KEY = re.compile(r"[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,47}")
VALUES_MAX = 64
TEXT_CHARACTERS_MAX = 256
REASON_CHARACTERS_MAX = 300
NUMBER_MAX = 1e18
CONFIGURATION_STATES = ("applied", "trial", "waiting")

SettingValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a device's settings should be, by ``table.key``; what is not named is as the device's own file says.

    version: of these values; a later message replaces an earlier one, whatever its number.
    """

    version: int
    values: Mapping[str, SettingValue] = field(default_factory=dict)

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "version": self.version, "values": dict(self.values)})

    @classmethod
    def decode(cls, payload: bytes) -> Configuration:
        """Raises RemoteError."""
        fields = json_fields(payload, "configuration")
        version = fields.integer("version")
        return finished(fields, cls(version, checked_values(_required(fields, "values"), fields.where, RemoteError)))


@dataclass(frozen=True, slots=True)
class ConfigurationState:
    """Which settings hold on a device. version: of the last `Configuration` that it decided about, 0 before the first.

    state: ``applied``; ``trial`` while the device would take the values back if it failed with them; ``waiting`` while
    it cannot decide, `problem` says why. values: every setting that can be changed from afar, as it is in force;
    remote: of those, the ones that are so from afar. refused: why a value of that version is not in force, by key.
    """

    version: int
    state: str
    values: Mapping[str, SettingValue] = field(default_factory=dict)
    remote: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    def encode(self) -> bytes:
        return canonical_json(
            {
                "schema": SCHEMA,
                "version": self.version,
                "state": self.state,
                "values": dict(self.values),
                "remote": list(self.remote),
                "refused": dict(self.refused),
                "problem": self.problem,
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> ConfigurationState:
        """Raises RemoteError."""
        fields = json_fields(payload, "configuration-state")
        state = cls(
            fields.integer("version"),
            fields.choice("state", CONFIGURATION_STATES),
            checked_values(_required(fields, "values"), fields.where, RemoteError),
            fields.strings("remote", count_max=VALUES_MAX),
            _reasons(fields),
            fields.text("problem", length_max=REASON_CHARACTERS_MAX),
        )
        if not set(state.remote) <= set(state.values) or len(set(state.remote)) != len(state.remote):
            raise RemoteError("configuration-state names a setting from afar that is not among its values, or twice")
        if not is_printable(state.problem):
            raise RemoteError("problem of configuration-state holds control characters")
        return finished(fields, state)


def checked_values(given: Mapping[str, JsonValue], where: str, error: type[HeadwayError]) -> dict[str, SettingValue]:
    """Settings that every receiver can hold. Raises `error`, one line with the value and the rule."""
    if len(given) > VALUES_MAX:
        raise error(f"{where} has {len(given)} settings; at most {VALUES_MAX} are taken")
    found: dict[str, SettingValue] = {}
    for key, value in given.items():
        _check_key(key, where, error)
        if isinstance(value, str):
            if len(value) > TEXT_CHARACTERS_MAX or not is_printable(value):
                raise error(f"{key} of {where} must be a printable text of at most {TEXT_CHARACTERS_MAX} characters")
        elif not isinstance(value, (bool, int, float)) or not math.isfinite(value) or abs(value) > NUMBER_MAX:
            raise error(f"{key} of {where} must be true, false, a number or a text, got {repr(value)[:80]}")
        found[key] = value
    return found


def _reasons(fields: Fields) -> dict[str, str]:
    found = {}
    given = _required(fields, "refused")
    if len(given) > VALUES_MAX:
        raise RemoteError(f"{fields.where} refuses {len(given)} settings; at most {VALUES_MAX} are taken")
    for key, reason in given.items():
        _check_key(key, fields.where, RemoteError)
        if not isinstance(reason, str) or len(reason) > REASON_CHARACTERS_MAX or not is_printable(reason):
            raise RemoteError(f"the reason against {key} must be a printable text of at most {REASON_CHARACTERS_MAX}")
        found[key] = reason
    return found


def _required(fields: Fields, key: str) -> dict[str, JsonValue]:
    if not fields.has(key):
        raise RemoteError(f"{key} of {fields.where} is missing")
    return fields.mapping(key)


def _check_key(key: str, where: str, error: type[HeadwayError]) -> None:
    if not KEY.fullmatch(key):
        raise error(f"{where} names setting {key[:60]!r}; write table.key, as in the file: sync.interval_s")
