"""What of each report is in the sum that devices are told, and where its tables are read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aggregator.heads.told_cautions import NONE
from aggregator.heads.weighing import counts_of
from aggregator.store import Store
from headway.errors import RemoteError
from headway.maths import Statistics, merge
from headway.wire import StatisticsReport

# (device, epoch)
Part = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """What of a part is in the told sum. counter: of the report, or NONE, or UNSEEN. kept: its payload lies in the
    store's `told`. counts: samples by class of what is told, empty where nothing is."""

    counter: int = NONE
    samples: int = 0
    kept: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        return self.counter >= 0


NOTHING = Entry()


def counts_in(tables: Statistics | None) -> dict[str, int]:
    """Samples by class; of nothing none."""
    return {} if tables is None else counts_of(tables)


def kept_tables(store: Store, part: Part) -> Statistics | None:
    """What was told of a part of which a newer report is stored."""
    return _tables(store.told_payload(*part))


def current_tables(store: Store, part: Part) -> Statistics | None:
    """Of the report that is stored."""
    row = store.statistics(*part)
    return None if row is None else _tables(row.payload)


def sum_of(source: Statistics, tables: Iterable[Statistics | None]) -> Statistics:
    """Of those that there are."""
    nothing = Statistics.zeros(source.size, source.classes, source.space)
    return merge([nothing, *(part for part in tables if part is not None)])


def _tables(payload: bytes) -> Statistics | None:
    """Of a stored report; None for one that earlier releases took and this one refuses."""
    try:
        return StatisticsReport.decode_stored(payload).statistics
    except RemoteError:
        return None
