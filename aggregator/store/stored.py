"""The rows of the aggregator's own tables: what was received of each device, published, ordered and refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredStatistics:
    """Newest statistics of one (device, epoch); payload: an encoded StatisticsReport.

    samples: that it holds, -1 for not known (stored by an earlier release, or it cannot be read). counts: samples by
    class, as JSON; empty for none.
    """

    device: str
    epoch: int
    counter: int
    space: str
    payload: bytes
    samples: int = -1
    counts: str = ""


@dataclass(frozen=True, slots=True)
class ToldStatistics:
    """What of one (device, epoch) is in the sum that devices are told (`aggregator.heads.told_sum`).

    counter, samples: of the report that is in it; a counter below 0: none is, and `samples` count as known outside.
    payload: that report, once a newer one has taken its place; else empty.
    """

    device: str
    epoch: int
    counter: int
    samples: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredUpdate:
    """A gradient update that no head has taken in yet; payload: an encoded Update. received_s: wall clock."""

    device: str
    epoch: int
    sequence: int
    space: str
    payload: bytes
    received_s: float


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a report that is not whole yet; payload: an encoded ReportPart."""

    device: str
    epoch: int
    counter: int
    sha256: str
    part: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class PartIndices:
    """Which parts of one (device, epoch) are stored."""

    counter: int
    sha256: str
    indices: frozenset[int]


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A published head; payload: an encoded PublishedHead. published_s: wall clock."""

    version: int
    method: str
    space: str
    payload: bytes
    published_s: float


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """The newest of everything a device sent. reported, metrics: encoded messages, empty before the first.

    Times are the aggregator's wall clock, seconds since 1970. class_count: classes in `metrics`.
    """

    device: str
    first_seen_s: float
    last_seen_s: float
    online: bool = False
    boot: int = 0
    epoch: int = 0
    counter: int = 0
    sequence: int = 0
    reported: bytes = b""
    metrics: bytes = b""
    metrics_epoch: int = 0
    metrics_counter: int = 0
    class_count: int = 0


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of a device, or of the aggregator about it. detail: JSON text; received_s: wall clock."""

    device: str
    name: str
    detail: str
    received_s: float


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events. device, name: '' for all. before: of lower numbers only, the newest first.

    after: of higher numbers only, the oldest first; not together with `before`.
    """

    device: str = ""
    name: str = ""
    before: int | None = None
    after: int | None = None
    count_max: int = 100


# of a bundle: sha256 of its file, name, version, release
Ordered = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """The bundle that a device should run; device '' stands for everybody, '_aggregator' is what is served here.

    sha256: of the bundle's file, '' for a withdrawn order. done: published to the device; for '', served here.
    """

    device: str
    sha256: str
    size: int
    name: str
    version: str
    release: int
    space: str
    ordered_s: float
    done: bool = False
