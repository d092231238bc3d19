"""Declares the registry: one typed row per device, how it is asked for, and the protocol of both stores.

The row is derived: everything in it was said by the device or decided by the service, and is written in the transaction
that changed it. Tags, notes and groups, which people set, are collections of their own (`aggregator.store.rows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from aggregator.filters import Condition, Field

Values = tuple[Any, ...]
UNKNOWN = "unknown"
ONLINE, OFFLINE = "online", "offline"
GOOD, PROBLEM, DEGRADED = "good", "problem", "degraded"
ON, PAUSED = "on", "paused"


@dataclass(frozen=True, slots=True)
class RegistryRow:
    """What is known of a device now. Moments (``_s``): wall clock of the server, seconds since 1970. None: not known.

    link, health, learning: three states, each since when. head: the one that serves. labels: learned; scored: of those
    that came with a prediction. served_accuracy, frozen_accuracy: prequential since the epoch began, 0..1, of a
    multi-label model the share of windows with every label right; accuracy_gain: served less frozen. The ``recent_``
    ones are over the newest labels, of which one counts half as much as one that came 50 later; recent_weight: what
    they count together. served_r2, frozen_r2: of a regression. drift_alarms: since the device is known.
    refused: its messages that were refused; the last one's reason and problem. bytes_per_day: received from it, a mean
    that leans on the last week. day: days since 1970, UTC, that the ``day_`` counts are of.
    """

    device: str
    first_seen_s: float
    last_seen_s: float
    link: str = UNKNOWN
    link_since_s: float | None = None
    health: str = UNKNOWN
    health_since_s: float | None = None
    learning: str = UNKNOWN
    learning_since_s: float | None = None
    problem: str = ""
    bundle: str = ""
    bundle_version: str = ""
    bundle_and_version: str = ""
    release: int = 0
    space: str = ""
    head: str = ""
    learner: str = ""
    runtime: str = ""
    agent_version: str = ""
    machine: str = ""
    delivery: str = ""
    epoch: int = 0
    counter: int = 0
    labels: int = 0
    scored: int = 0
    served_right: int = 0
    frozen_right: int = 0
    served_accuracy: float | None = None
    frozen_accuracy: float | None = None
    accuracy_gain: float | None = None
    served_r2: float | None = None
    frozen_r2: float | None = None
    recent_weight: float = 0.0
    recent_served_accuracy: float | None = None
    recent_frozen_accuracy: float | None = None
    recent_accuracy_gain: float | None = None
    drift_alarms: int = 0
    drift_s: float | None = None
    refused: int = 0
    refused_reason: str = ""
    refused_problem: str = ""
    refused_s: float | None = None
    disk_free_bytes: int | None = None
    memory_free_bytes: int | None = None
    temperature_c: float | None = None
    bytes_per_day: float | None = None
    day: int = 0
    day_labels: int = 0
    day_served_right: int = 0
    day_frozen_right: int = 0
    day_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RegistryQuery:
    """Which devices, in which order.

    sort: the field whose column orders them, None: the device's name; what is not known comes last, equals by name.
    after: the last device of the page before with its value in the sort column. count_max: None for all.
    """

    condition: Condition | None = None
    sort: Field | None = None
    descending: bool = False
    after: tuple[str | float | None, str] | None = None
    count_max: int | None = None

    @property
    def column(self) -> str:
        """The one that orders the rows."""
        return "device" if self.sort is None else self.sort.columns[0]


class ReadableRegistry(Protocol):
    """The typed rows, for who only looks."""

    def get(self, device: str) -> RegistryRow | None: ...

    def find(self, query: RegistryQuery, now_s: float) -> list[RegistryRow]:
        """now_s: wall clock, for durations."""
        ...

    def table(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Sequence[Values]:
        """These columns of the same rows."""
        ...

    def objects(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Iterator[Values]:
        """Of the same rows a JSON object of these columns in ASCII, the value that orders them, and the device.

        names: `link` and `head` among them; the object also has ``online`` and ``source``, as earlier releases call
        these two.
        """
        ...

    def columns(self, names: Sequence[str], condition: Condition | None = None, now_s: float = 0.0) -> list[Values]:
        """These columns alone, of each device that meets the condition, in no order."""
        ...

    def count(self, condition: Condition | None, now_s: float) -> int: ...


class Heard(NamedTuple):
    """What each report changes of a device's typed row; the columns are those of `RegistryRow`."""

    last_seen_s: float
    epoch: int
    counter: int
    day_bytes: int


class RegistryTable(ReadableRegistry, Protocol):
    """The typed rows, inside a transaction of the store."""

    def today(self, device: str) -> tuple[int, int] | None:
        """The columns `day` and `day_bytes` of a device; None without a row."""
        ...

    def hear(self, heard: Mapping[str, Heard]) -> None:
        """Change these columns of these devices, which have rows."""
        ...

    def put(self, rows: Sequence[RegistryRow]) -> None:
        """Insert, or replace the rows of the same devices."""
        ...

    def totals(
        self, by: Sequence[str], of: Sequence[str], condition: Condition | None = None, now_s: float = 0.0
    ) -> list[Values]:
        """Of the devices that meet the condition, for each combination of values of the columns `by`: these, how many
        devices have them, and the sums over those of the columns `of`, which are whole numbers; in no order."""
        ...

    def runs_space(self, space: str) -> bool:
        """Whether a device says that its bundle has this feature space."""
        ...
