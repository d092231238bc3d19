"""Messages by which a device with few labels asks for the fleet's statistics and gets them.

The aggregator leaves out what the device itself contributed, exactly, so that nothing a device was taught stands both
in its prior and in its own tables. Normative text: docs/protocol.md, 4.12 and 4.13.
"""

from __future__ import annotations

from dataclasses import dataclass

from headway.fields import canonical_json
from headway.maths import Statistics
from headway.tensors import encode_tensors
from headway.wire.codec import CODES_MAX, SCHEMA, finished, json_fields, read_classes, tensor_fields
from headway.wire.packing import from_wire, to_wire


@dataclass(frozen=True, slots=True)
class PriorRequest:
    """A device asks for the fleet's tables in its feature space. samples: those of the prior it has, 0 for none."""

    space: str
    samples: int

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "space": self.space, "samples": self.samples})

    @classmethod
    def decode(cls, payload: bytes) -> PriorRequest:
        fields = json_fields(payload, "prior-request")
        return finished(fields, cls(fields.text("space", length_max=64), fields.integer("samples")))


@dataclass(frozen=True, slots=True)
class FleetPrior:
    """Summed tables of `devices` devices, none of them the one that is told; the bundle's source is not counted."""

    devices: int
    statistics: Statistics

    @property
    def samples(self) -> int:
        return self.statistics.samples

    def encode(self) -> bytes:
        """Raises LocalError for tables that no samples can have made."""
        tables = self.statistics
        body = {"space": tables.space, "size": tables.size, "classes": list(tables.classes)}
        meta = {"schema": SCHEMA, "kind": "prior", "devices": self.devices, **body}
        # devices of release 0.2 read this, too
        return encode_tensors(to_wire(tables, predict=True), meta)

    @classmethod
    def decode(cls, payload: bytes, size_max: int = CODES_MAX) -> FleetPrior:
        """size_max: bounds the memory that a small message can claim, as for a `StatisticsReport`."""
        arrays, fields = tensor_fields(payload, "prior")
        size = fields.integer("size", low=1, high=size_max)
        classes = read_classes(fields)
        statistics = from_wire(arrays, size, classes, fields.text("space", length_max=64))
        return finished(fields, cls(fields.integer("devices", low=1), statistics))
