"""The exact learner's message: cumulative tables, and the history that tells a device from its clone."""

from __future__ import annotations

from dataclasses import dataclass

from headway.fields import Fields, JsonValue
from headway.packing import from_wire, to_wire
from headway.statistics import Statistics
from headway.tensors import encode_tensors
from headway.wire_fields import CODES_MAX, LIVES_MAX, SCHEMA, finished, read_classes, tensor_fields


@dataclass(frozen=True, slots=True)
class History:
    """The lives that led to a device's state: a life is one run of its program that spoke to the aggregator.

    life: number drawn at random by the run that writes this; earlier, ends: the runs before it that may have told
    something, oldest first, and the counter each had reached when the next one began. A state
    that was told by none of them comes from a clone, or from after the moment to which this device was restored.
    """

    life: int = 0
    earlier: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def includes(self, life: int, counter: int) -> bool:
        """Whether what `life` told under `counter` is part of this history."""
        if life in (0, self.life) or (self.ends and counter <= self.ends[0]):
            # from before the lives that are still remembered; no branch can have begun there
            return True
        return any(life == known and counter <= end for known, end in zip(self.earlier, self.ends, strict=True))

    def to_json(self) -> dict[str, JsonValue]:
        return {"life": self.life, "earlier": [*self.earlier], "ends": [*self.ends]}

    @classmethod
    def read(cls, fields: Fields) -> History:
        earlier = fields.integers("earlier", count_max=LIVES_MAX)
        ends = fields.integers("ends", count_max=LIVES_MAX)
        if len(earlier) != len(ends):
            raise fields.error(f"{fields.where} names {len(earlier)} earlier lives with {len(ends)} ends")
        return cls(fields.integer("life"), earlier, ends)


NO_HISTORY = History()


@dataclass(frozen=True, slots=True)
class StatisticsReport:
    """A device's cumulative tables. Of one (device, epoch) only the highest counter matters.

    history: which runs of the device's program these tables come from.
    """

    device: str
    epoch: int
    counter: int
    statistics: Statistics
    history: History = NO_HISTORY

    def encode(self) -> bytes:
        statistics = self.statistics
        head = {"device": self.device, "epoch": self.epoch, "counter": self.counter, **self.history.to_json()}
        body = {"space": statistics.space, "size": statistics.size, "classes": list(statistics.classes)}
        return encode_tensors(to_wire(statistics), {"schema": SCHEMA, "kind": "statistics", **head, **body})

    @classmethod
    def decode(cls, payload: bytes, size_max: int = CODES_MAX) -> StatisticsReport:
        """`size_max` bounds the memory that a small, well-compressed message can claim: (size_max + 1)^2 int64."""
        arrays, fields = tensor_fields(payload, "statistics")
        size = fields.integer("size", low=1, high=size_max)
        classes = read_classes(fields)
        statistics = from_wire(arrays, size, classes, fields.text("space", length_max=64))
        numbers = fields.integer("epoch"), fields.integer("counter")
        report = cls(fields.text("device"), *numbers, statistics, History.read(fields))
        return finished(fields, report)

    @classmethod
    def read_life(cls, payload: bytes) -> int:
        """The life alone, without unpacking the tables of a report that was decoded before."""
        return tensor_fields(payload, "statistics")[1].integer("life")
