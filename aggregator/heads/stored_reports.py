"""Reports as the store has them: read again, and the counts that are noted beside them."""

from __future__ import annotations

from aggregator.store import StoredStatistics
from headway.errors import RemoteError, StoreError
from headway.fields import parse_json
from headway.maths import Statistics
from headway.wire import StatisticsReport


def stored_report(row: StoredStatistics) -> StatisticsReport | None:
    """A report that was stored before; None for one that an earlier version took and this one refuses.

    Such a one was never added to the running sum of this process, and is replaced by the device's next report.
    """
    try:
        # the samples of a row are noted once its tables were found to be those of samples
        return StatisticsReport.decode_stored(row.payload, accepted=row.samples >= 0)
    except RemoteError:
        return None


def stored_tables(row: StoredStatistics) -> Statistics | None:
    """The tables of `stored_report`."""
    report = stored_report(row)
    return None if report is None else report.statistics


def class_counts(row: StoredStatistics) -> dict[str, int]:
    """Samples by class of a stored report, as they are noted beside it. Raises StoreError for what is no such note."""
    if not row.counts:
        return {}
    counts = parse_json(row.counts.encode(), f"class counts of {row.device}", StoreError, len(row.counts.encode()))
    if not isinstance(counts, dict):
        raise StoreError(f"class counts of {row.device} are {row.counts[:80]!r}; they must be counts by name")
    return counts
