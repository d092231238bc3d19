"""Codec of the message by which a device says of which windows it would like to know the class. protocol.md, 4.29."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headway.errors import RemoteError
from headway.fields import Fields, JsonValue, canonical_json
from headway.printable import is_printable
from headway.wire.answers import ID_CHARACTERS_MAX, NAME_CHARACTERS_MAX
from headway.wire.codec import SCHEMA, finished, json_fields

LABELS_WANTED_BYTES_MAX = 32 * 1024
WANTED_WINDOWS_MAX = 64
CLASSES_SHOWN_MAX = 256
CLASSES_SHOWN_BYTES_MAX = 8 * 1024
PROBABILITIES_MAX = 8
SKETCH_KINDS = SERIES, IMAGE = "series", "image"
SKETCH_ROWS_MAX = 32
SKETCH_BYTES_MAX = 1024
# of int8 codes, each of which differs by 254 at most
DISTANCE_MAX = 254.0


@dataclass(frozen=True, slots=True)
class Sketch:
    """A window drawn small. kind: ``series``, a row for each channel, or ``image``, a row for each line of it.

    rows: equally many bytes each; a byte stands for a value from low (1) to high (255), 0 for one that is missing.
    """

    kind: str
    low: float
    high: float
    rows: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Of all rows."""
        return sum(map(len, self.rows))

    def to_json(self) -> dict[str, JsonValue]:
        rows: list[JsonValue] = [base64.b64encode(row).decode() for row in self.rows]
        return {"kind": self.kind, "low": self.low, "high": self.high, "rows": rows}

    @classmethod
    def read(cls, fields: Fields) -> Sketch:
        """Inverse of `to_json`. Raises the error of `fields`."""
        texts = fields.strings("rows", count_max=SKETCH_ROWS_MAX, length_max=2 * SKETCH_BYTES_MAX)
        try:
            rows = tuple(base64.b64decode(text, validate=True) for text in texts)
        except (binascii.Error, ValueError) as error:
            raise fields.error(f"{fields.where} has rows that are no base64: {error}") from error
        sketch = cls(fields.choice("kind", SKETCH_KINDS), fields.number("low"), fields.number("high"), rows)
        if not rows or not rows[0] or len(set(map(len, rows))) > 1 or sketch.size_bytes > SKETCH_BYTES_MAX:
            raise fields.error(
                f"{fields.where} must have rows of one length, at least 1 byte and at most {SKETCH_BYTES_MAX} together"
            )
        if sketch.low > sketch.high:
            raise fields.error(f"{fields.where} is from {sketch.low:g} to {sketch.high:g}; low must not be above high")
        return finished(fields, sketch)


@dataclass(frozen=True, slots=True)
class NearestLabel:
    """The labelled window that is most like another. distance: root mean square of the differences of the codes."""

    id: str
    label: str
    distance: float

    def to_json(self) -> dict[str, JsonValue]:
        return {"id": self.id, "label": self.label, "distance": self.distance}

    @classmethod
    def read(cls, fields: Fields) -> NearestLabel:
        """Inverse of `to_json`. Raises the error of `fields`."""
        distance = fields.number("distance", low=0.0, high=DISTANCE_MAX)
        return finished(fields, cls(_id(fields), _name(fields.text("label"), fields), distance))


@dataclass(frozen=True, slots=True)
class WantedLabel:
    """A window without a label. at_s: Unix time by the device's clock, 0: not known any more.

    probabilities: of the most probable classes by name, as head `served_by` gave them then.
    """

    id: str
    at_s: float
    served_by: str
    probabilities: Mapping[str, float]
    nearest: NearestLabel | None = None
    sketch: Sketch | None = None

    @property
    def margin(self) -> float:
        """By how much the most probable class is ahead of the next: 0, nothing is known; 1, it is certain."""
        first, second, *_ = [*sorted(self.probabilities.values(), reverse=True), 0.0, 0.0]
        return first - second

    def to_json(self) -> dict[str, JsonValue]:
        table: dict[str, JsonValue] = {
            "id": self.id, "at_s": self.at_s, "served_by": self.served_by, "probabilities": {**self.probabilities},
        }  # fmt: skip
        if self.nearest is not None:
            table["nearest"] = self.nearest.to_json()
        if self.sketch is not None:
            table["sketch"] = self.sketch.to_json()
        return table

    @classmethod
    def read(cls, fields: Fields) -> WantedLabel:
        """Inverse of `to_json`. Raises the error of `fields`."""
        given = Fields(fields.mapping("probabilities"), f"probabilities of {fields.where}", fields.error)
        names = tuple(fields.mapping("probabilities"))
        if not 0 < len(names) <= PROBABILITIES_MAX:
            raise fields.error(f"{fields.where} must have 1 to {PROBABILITIES_MAX} probabilities, got {len(names)}")
        window = cls(
            _id(fields),
            fields.number("at_s", low=0.0),
            fields.text("served_by", length_max=NAME_CHARACTERS_MAX),
            {_name(name, fields): given.number(name, low=0.0, high=1.0) for name in names},
            NearestLabel.read(fields.table("nearest")) if fields.has("nearest") else None,
            Sketch.read(fields.table("sketch")) if fields.has("sketch") else None,
        )
        return finished(fields, window)


@dataclass(frozen=True, slots=True)
class LabelsWanted:
    """Windows of which a device would like to know the class, the least certain first; a later message replaces an
    earlier one. Retained.

    classes: of the device in its own order, the first of them where they are many.
    """

    classes: tuple[str, ...]
    windows: tuple[WantedLabel, ...] = field(default=())

    def encode(self) -> bytes:
        windows = [window.to_json() for window in self.windows]
        return canonical_json({"schema": SCHEMA, "classes": list(self.classes), "windows": windows})

    def fitting(self) -> LabelsWanted:
        """As much of it as a message takes: without the last sketches or, if need be, without the last windows."""
        message = replace(self, classes=_that_fit(self.classes), windows=self.windows[:WANTED_WINDOWS_MAX])
        windows = [*message.windows]
        for place in reversed(range(len(windows))):
            if len(message.encode()) <= LABELS_WANTED_BYTES_MAX:
                return message
            windows[place] = replace(windows[place], sketch=None)
            message = replace(message, windows=tuple(windows))
        while len(message.encode()) > LABELS_WANTED_BYTES_MAX:
            message = replace(message, windows=message.windows[:-1])
        return message

    @classmethod
    def decode(cls, payload: bytes) -> LabelsWanted:
        """Raises RemoteError."""
        if len(payload) > LABELS_WANTED_BYTES_MAX:
            problem = f"labels-wanted has {len(payload)} bytes; at most {LABELS_WANTED_BYTES_MAX} are accepted"
            raise RemoteError(problem)
        fields = json_fields(payload, "labels-wanted")
        if not fields.has("windows"):
            raise RemoteError("labels-wanted lacks 'windows'")
        classes = fields.strings("classes", count_max=CLASSES_SHOWN_MAX, length_max=NAME_CHARACTERS_MAX)
        for name in classes:
            _name(name, fields)
        windows = tuple(map(WantedLabel.read, fields.tables("windows", count_max=WANTED_WINDOWS_MAX)))
        if len({window.id for window in windows}) != len(windows) or len(set(classes)) != len(classes):
            raise RemoteError("labels-wanted names a window or a class twice")
        return finished(fields, cls(classes, windows))


def can_be_asked_about(window_id: str) -> bool:
    """Whether a message can name this window."""
    return 0 < len(window_id) <= ID_CHARACTERS_MAX and is_printable(window_id)


def _that_fit(classes: tuple[str, ...]) -> tuple[str, ...]:
    taken, size_bytes = list[str](), 0
    for name in classes[:CLASSES_SHOWN_MAX]:
        size_bytes += len(canonical_json(name)) + 1
        if size_bytes > CLASSES_SHOWN_BYTES_MAX:
            break
        taken.append(name)
    return tuple(taken)


def _id(fields: Fields) -> str:
    window_id = fields.text("id", length_max=ID_CHARACTERS_MAX)
    if not can_be_asked_about(window_id):
        raise fields.error(f"{fields.where} has id {window_id[:40]!r}; it must be printable and not empty")
    return window_id


def _name(name: str, fields: Fields) -> str:
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not is_printable(name):
        raise fields.error(f"{fields.where} names class {name[:40]!r}; it must be printable and not empty")
    return name
