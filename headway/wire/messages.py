"""Encodes and decodes status, metrics, heads, updates and acknowledgements; both ends use the same classes.

Every message has ``encode`` and a strict ``decode`` that raises RemoteError. The normative text is docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from headway.errors import RemoteError, listed
from headway.fields import JsonValue, canonical_json
from headway.maths import AnySums, Head, HeadInput, HeadKind, class_count_in, sums_from_json
from headway.tensors import encode_tensors
from headway.wire.codec import (
    CLASSES_MAX,
    CODES_MAX,
    JSON_TYPE,
    MESSAGE_BYTES_MAX,
    REPORT_BYTES_MAX,
    RUNS_MAX,
    SCHEMA,
    TENSORS_TYPE,
    finished,
    float_matrix,
    json_fields,
    read_classes,
    tensor_fields,
)
from headway.wire.statistics_change import StatisticsChange, change_between, is_change
from headway.wire.statistics_report import (
    NO_HISTORY,
    History,
    ReportPart,
    RunPoint,
    StatisticsReport,
    is_part,
    join_report,
    split_report,
)
from headway.wire.update import Update

__all__ = [
    "CLASSES_MAX",
    "CODES_MAX",
    "JSON_TYPE",
    "MESSAGE_BYTES_MAX",
    "NO_HISTORY",
    "PROBLEM_CHARACTERS_MAX",
    "REPORT_BYTES_MAX",
    "RUNS_MAX",
    "SCHEMA",
    "TENSORS_TYPE",
    "Ack",
    "Event",
    "History",
    "Metrics",
    "Parting",
    "PublishedHead",
    "ReportPart",
    "Reported",
    "RunPoint",
    "StatisticsChange",
    "StatisticsReport",
    "Status",
    "Update",
    "change_between",
    "is_change",
    "is_part",
    "join_report",
    "split_report",
]

PROBLEM_CHARACTERS_MAX = 400


@dataclass(frozen=True, slots=True)
class Status:
    """Is the sender there? Retained, and the last will with online false. `boot` counts starts of the process."""

    online: bool
    boot: int

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "online": self.online, "boot": self.boot})

    @classmethod
    def decode(cls, payload: bytes) -> Status:
        fields = json_fields(payload, "status")
        return finished(fields, cls(fields.boolean("online"), fields.integer("boot")))


@dataclass(frozen=True, slots=True)
class Reported:
    """The device's side of its twin: what it runs and how it is. Retained."""

    bundle: str
    bundle_version: str
    space: str
    learner: str
    runtime: str
    agent_version: str
    machine: str
    labels: int
    source: str
    problem: str = ""
    release: int = 0
    delivery: str = ""

    def encode(self) -> bytes:
        texts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return canonical_json({"schema": SCHEMA, **texts})

    @classmethod
    def decode(cls, payload: bytes) -> Reported:
        fields = json_fields(payload, "reported")
        numbers = {name: fields.integer(name) for name in ("labels", "release")}
        names = [name for name in cls.__dataclass_fields__ if name not in numbers]
        texts = {name: fields.text(name, length_max=512) for name in names}
        return finished(fields, cls(**texts, **numbers))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Mergeable prequential sums since the epoch began: of the served head, and of the frozen head beside it.

    Both are over the device's classes: the bundle's first, then those that it met since.
    """

    epoch: int
    counter: int
    served: AnySums
    frozen: AnySums

    def encode(self) -> bytes:
        value = {"epoch": self.epoch, "counter": self.counter, "schema": SCHEMA}
        return canonical_json({**value, "served": self.served.to_json(), "frozen": self.frozen.to_json()})

    @classmethod
    def decode(cls, payload: bytes, class_count: int, class_count_max: int = 0) -> Metrics:
        """class_count: that the sums must have, or at least have where they may have up to `class_count_max`."""
        fields = json_fields(payload, "metrics")
        tables = fields.mapping("served"), fields.mapping("frozen")
        count = min(max(class_count, class_count_in(tables[0])), max(class_count, class_count_max))
        served, frozen = (sums_from_json(table, count) for table in tables)
        if type(served) is not type(frozen):
            raise RemoteError("metrics of the served and of the frozen head are of two different tasks")
        return finished(fields, cls(fields.integer("epoch"), fields.integer("counter"), served, frozen))

    @property
    def class_count(self) -> int:
        """Classes or outputs that the sums are over."""
        return class_count_in(self.served.to_json())


@dataclass(frozen=True, slots=True)
class Parting:
    """Two histories of one device part: that of the report which is answered, and that of what is stored.

    answered: the report's run and counter; shared: the last point that is in both.
    """

    answered: RunPoint
    shared: RunPoint


@dataclass(frozen=True, slots=True)
class Ack:
    """What the aggregator has durably stored of a device, and how long the device should pause between syncs.

    run_id: the run of the device's program that sent what is stored under `counter` or, without one, `sequence`.
    part_counter, parts: of a report that travels in parts, its counter and how many parts are stored, from the first.
    removed: what the epoch had contributed was taken out on request, and nothing more of it is taken.
    parting: the last report was refused because it comes from another branch of the device's history.
    refused, problem: why a report was refused, as a short name and in words; `epoch` is 0 where it is unknown.
    """

    epoch: int
    counter: int
    sequence: int
    pace_s: float = 0.0
    run_id: int = 0
    part_counter: int = 0
    parts: int = 0
    removed: bool = False
    parting: Parting | None = None
    refused: str = ""
    problem: str = ""

    def encode(self) -> bytes:
        if not (self.removed or self.parting or self.refused or self.problem):
            # as most are, and each report is answered with one: the same bytes, without a dictionary to be sorted
            numbers = f'{{"counter":{self.counter},"epoch":{self.epoch},"life":{self.run_id},"pace_s":{self.pace_s!r}'
            parts = f'"part_counter":{self.part_counter},"parts":{self.parts}'
            return f'{numbers},{parts},"schema":{SCHEMA},"sequence":{self.sequence}}}'.encode()
        return self._encode_all()

    def _encode_all(self) -> bytes:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "parting"}
        values["life"] = values.pop("run_id")
        for name in ("removed", "refused", "problem"):
            if not values[name]:
                del values[name]
        if self.parting is not None:
            answered, shared = self.parting.answered, self.parting.shared
            values |= {"answered_life": answered.run_id, "answered_counter": answered.counter}
            values |= {"shared_life": shared.run_id, "shared_counter": shared.counter}
        return canonical_json({"schema": SCHEMA, **values})

    @classmethod
    def decode(cls, payload: bytes) -> Ack:
        fields = json_fields(payload, "ack")
        numbers = (fields.integer("epoch"), fields.integer("counter"), fields.integer("sequence"))
        pace_s = fields.number("pace_s", low=0.0, high=86_400.0)
        rest = fields.integer("life"), fields.integer("part_counter"), fields.integer("parts")
        removed, parting = fields.boolean("removed", False), None
        if fields.has("answered_life"):
            answered = RunPoint(fields.integer("answered_life"), fields.integer("answered_counter"))
            parting = Parting(answered, RunPoint(fields.integer("shared_life"), fields.integer("shared_counter")))
        refused = fields.text("refused", "", length_max=64)
        problem = fields.text("problem", "", length_max=PROBLEM_CHARACTERS_MAX)
        return finished(fields, cls(*numbers, pace_s, *rest, removed, parting, refused, problem))


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """The fleet's head. Versions only grow; `method` is ``exact`` or ``average``."""

    version: int
    method: str
    space: str
    devices: int
    samples: int
    head: Head

    def encode(self) -> bytes:
        meta = {
            "schema": SCHEMA,
            "kind": "head",
            "version": self.version,
            "method": self.method,
            "space": self.space,
            "devices": self.devices,
            "samples": self.samples,
            "link": str(self.head.kind),
            "classes": list(self.head.classes),
        }
        return encode_tensors({"kernel": self.head.kernel, "bias": self.head.bias}, meta)

    @classmethod
    def decode(cls, payload: bytes) -> PublishedHead:
        arrays, fields = tensor_fields(payload, "head")
        classes = read_classes(fields)
        kind = HeadKind(fields.choice("link", tuple(HeadKind)))
        kernel, bias = float_matrix(arrays, "kernel"), arrays.get("bias")
        bias_fits = bias is not None and bias.dtype == np.float32 and bias.shape == (len(classes),)
        if set(arrays) != {"kernel", "bias"} or not bias_fits or kernel.shape[1] != len(classes):
            raise RemoteError(
                f"head holds {listed(arrays)} for {len(classes)} classes; expected kernel (d, C), bias (C,)"
            )
        if bias is None or not np.isfinite(bias).all():
            raise RemoteError("head bias is not finite")
        return finished(
            fields,
            cls(
                fields.integer("version", low=1),
                fields.choice("method", ("exact", "average")),
                fields.text("space", length_max=64),
                fields.integer("devices"),
                fields.integer("samples"),
                Head(kernel, bias, kind, classes, HeadInput.CODES),
            ),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person may want to know: drift, a gate decision, refused input, a rollback."""

    name: str
    detail: Mapping[str, JsonValue] = field(default_factory=dict)
    wall_s: float = 0.0

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "name": self.name, "detail": dict(self.detail), "wall_s": self.wall_s})

    @classmethod
    def decode(cls, payload: bytes) -> Event:
        fields = json_fields(payload, "event")
        return finished(fields, cls(fields.text("name"), fields.mapping("detail"), fields.number("wall_s")))
