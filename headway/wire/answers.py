"""Codecs of what a device and the programs around it tell each other: answers, and labels for them. protocol.md, 4.27.

The same JSON stands in a message, in a line of a file and in a line of a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.errors import HeadwayError, RemoteError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.wire.codec import CLASSES_MAX, MESSAGE_BYTES_MAX, SCHEMA, checked_schema, finished, json_fields

NAME_CHARACTERS_MAX = 256
ID_CHARACTERS_MAX = 128
# of one message, line or request
LABELS_MAX = 1024

TargetValues = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What a device says of one window.

    id: the window's own; empty where it came without one. file, sequence, row: where it came from; the two numbers
    together name the window, and grow. wall_s: Unix time by the device's clock. label: the class; "" where the model
    has several labels or values. labels: those that hold, of a model with several. outputs: probabilities by class,
    the most probable ones; or values by name. head: which one the gate chose to answer; head_version: of a fleet's head
    its version, of the frozen one the bundle's release, of a learned one how many labels the device had learned.
    smoothed: the class after smoothing over time; empty without.
    """

    id: str
    file: str
    sequence: int
    row: int
    wall_s: float
    task: str
    label: str
    labels: tuple[str, ...]
    outputs: Mapping[str, float]
    head: str
    head_version: int
    bundle: str
    bundle_version: str
    release: int
    smoothed: str = ""

    def encode(self) -> bytes:
        table = {
            "schema": SCHEMA,
            "id": self.id,
            "file": self.file,
            "sequence": self.sequence,
            "row": self.row,
            "wall_s": self.wall_s,
            "task": self.task,
            "label": self.label,
            "labels": list(self.labels),
            "outputs": dict(self.outputs),
            "head": self.head,
            "head_version": self.head_version,
            "bundle": self.bundle,
            "bundle_version": self.bundle_version,
            "release": self.release,
            "smoothed": self.smoothed,
        }
        return canonical_json(table)

    @classmethod
    def decode(cls, payload: bytes) -> WindowAnswer:
        """Raises RemoteError."""
        fields = json_fields(payload, "answer")
        if not fields.has("outputs"):
            raise RemoteError("answer lacks 'outputs'")
        answer = cls(
            fields.text("id", length_max=ID_CHARACTERS_MAX),
            fields.text("file"),
            fields.integer("sequence"),
            fields.integer("row"),
            fields.number("wall_s", low=0.0),
            fields.text("task"),
            fields.text("label", length_max=NAME_CHARACTERS_MAX),
            fields.strings("labels", count_max=CLASSES_MAX),
            {name: _number(name, value) for name, value in fields.mapping("outputs").items()},
            fields.text("head"),
            fields.integer("head_version"),
            fields.text("bundle"),
            fields.text("bundle_version"),
            fields.integer("release"),
            fields.text("smoothed", length_max=NAME_CHARACTERS_MAX),
        )
        return finished(fields, answer)


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """The truth about one window, or about all that ended in a span of time. label: a class; empty takes back what was
    said. values: instead of a class, one number per output, None where it is not known; of models with several labels
    or values. span: instead of an id, from when to when it holds, in seconds since 1970."""

    id: str
    label: str = ""
    values: TargetValues = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """Labels for windows that a device answered, or will, by id, or all for spans; all of them are taken, or none."""

    labels: tuple[GivenLabel, ...] = field(default=())

    def encode(self) -> bytes:
        rows: list[JsonValue] = []
        for given in self.labels:
            row: dict[str, JsonValue] = {"id": given.id}
            if given.span is not None:
                row = {"from_s": given.span[0], "to_s": given.span[1]}
            rows.append(row | ({"values": [*given.values]} if given.values else {"label": given.label}))
        return canonical_json({"schema": SCHEMA, "labels": rows})

    @classmethod
    def decode(cls, payload: bytes, error: type[HeadwayError] = RemoteError) -> GivenLabels:
        """Of a whole message, or of one label alone, ``{"id":"w-17","label":"walk"}``. Raises `error`."""
        table = parse_json(payload, "labels", error, MESSAGE_BYTES_MAX)
        if not isinstance(table, dict) or "labels" not in table:
            return cls((_read_label(table, "label", error),))
        fields = checked_schema(Fields({name: row for name, row in table.items() if name != "labels"}, "labels", error))
        fields.finish()
        rows = table["labels"]
        if not isinstance(rows, list) or not 0 < len(rows) <= LABELS_MAX:
            raise error(f'labels must be a list of 1 to {LABELS_MAX}: [{{"id": ..., "label": ...}}]')
        found = cls(tuple(_read_label(row, f"label {place}", error) for place, row in enumerate(rows)))
        if len({given.span is None for given in found.labels}) != 1:
            raise error("labels mixes ids and spans of time; send a message for each kind")
        if found.labels[0].span is None and len({given.id for given in found.labels}) != len(rows):
            raise error("labels names a window twice; give each id once")
        if len({len(given.values) for given in found.labels}) != 1:
            raise error("labels mixes classes and values, or different numbers of values; give one kind")
        return found


def _read_label(table: object, where: str, error: type[HeadwayError]) -> GivenLabel:
    # numbers and nulls in one list: `Fields` knows lists of one kind only
    values: tuple[float | None, ...] = ()
    if isinstance(table, dict) and "values" in table:
        values = _values(table["values"], where, error)
        table = {name: value for name, value in table.items() if name != "values"}
    fields = Fields(table, where, error)
    if fields.has("from_s") or fields.has("to_s"):
        span = fields.number("from_s", low=0.0), fields.number("to_s", low=0.0)
        if span[0] >= span[1]:
            raise error(f"{where} holds from {span[0]:.0f} to {span[1]:.0f}; the end must come later")
        label = "" if values else fields.text("label", length_max=NAME_CHARACTERS_MAX)
        return finished(fields, GivenLabel("", label, values, span))
    window_id = fields.text("id", length_max=ID_CHARACTERS_MAX)
    if not window_id:
        raise error(f"{where} has an empty id; give the window's")
    label = "" if values else fields.text("label", length_max=NAME_CHARACTERS_MAX)
    return finished(fields, GivenLabel(window_id, label, values))


def _values(given: object, where: str, error: type[HeadwayError]) -> TargetValues:
    if not isinstance(given, list) or not 0 < len(given) <= CLASSES_MAX:
        raise error(f"values of {where} must be 1 to {CLASSES_MAX} numbers, null where one is unknown")
    return tuple(None if value is None else _number(f"values of {where}", value, error) for value in given)


def _number(name: str, value: object, error: type[HeadwayError] = RemoteError) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise error(f"{name[:80]} must be a number, got {repr(value)[:40]}")
    return float(value)
