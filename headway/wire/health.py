"""Codec of the message by which a device tells how its machine is, now and then. protocol.md, 4.20."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.errors import HeadwayError, RemoteError
from headway.fields import JsonValue, canonical_json
from headway.printable import is_printable
from headway.wire.codec import SCHEMA, finished, json_fields

LEARNING_STATES = ("on", "paused")
ATTRIBUTES_MAX = 16
ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
ATTRIBUTE_CHARACTERS_MAX = 128
TEMPERATURE_MIN_C, TEMPERATURE_MAX_C = -100.0, 500.0


@dataclass(frozen=True, slots=True)
class Health:
    """Of a machine at one moment; a later message replaces an earlier one. None: the machine does not tell.

    learning: whether labels are learned as they come. disk_free_bytes: where the agent keeps its state.
    attributes: what the device's owner wrote of it, texts by name.
    """

    learning: str
    disk_free_bytes: int | None = None
    memory_free_bytes: int | None = None
    temperature_c: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        measured = {
            "disk_free_bytes": self.disk_free_bytes,
            "memory_free_bytes": self.memory_free_bytes,
            "temperature_c": self.temperature_c,
        }
        known: dict[str, object] = {name: value for name, value in measured.items() if value is not None}
        return canonical_json(
            {"schema": SCHEMA, "learning": self.learning, "attributes": dict(self.attributes), **known}
        )

    @classmethod
    def decode(cls, payload: bytes) -> Health:
        """Raises RemoteError."""
        fields = json_fields(payload, "health")
        temperature_c = None
        if fields.has("temperature_c"):
            temperature_c = fields.number("temperature_c", low=TEMPERATURE_MIN_C, high=TEMPERATURE_MAX_C)
        health = cls(
            fields.choice("learning", LEARNING_STATES),
            fields.integer("disk_free_bytes") if fields.has("disk_free_bytes") else None,
            fields.integer("memory_free_bytes") if fields.has("memory_free_bytes") else None,
            temperature_c,
            checked_attributes(fields.mapping("attributes"), fields.where, RemoteError),
        )
        return finished(fields, health)


def checked_attributes(given: Mapping[str, JsonValue], where: str, error: type[HeadwayError]) -> dict[str, str]:
    """Attributes that every receiver takes. Raises `error`, one line with the value and the rule."""
    if len(given) > ATTRIBUTES_MAX:
        raise error(f"{where} has {len(given)} attributes; at most {ATTRIBUTES_MAX} are taken")
    found = {}
    for name, value in given.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise error(
                f"attribute {name[:40]!r} of {where} is not a valid name; use 1 to 32 letters, digits, '_' or '-', "
                "beginning with no sign"
            )
        if not isinstance(value, str) or len(value) > ATTRIBUTE_CHARACTERS_MAX or not is_printable(value):
            raise error(
                f"attribute {name} of {where} must be a printable text of at most {ATTRIBUTE_CHARACTERS_MAX} "
                f"characters, got {repr(value)[:80]}"
            )
        found[name] = value
    return found
