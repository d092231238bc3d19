"""Implements ``edge-fleet verify``: whether the sums that are kept are those of the reports that are stored."""

from __future__ import annotations

from aggregator.commands.done import say
from aggregator.heads import check_sums
from aggregator.store.sql import SqlStore
from headway.errors import StoreError


def verify_sums(store: SqlStore) -> None:
    """Print what was compared. Raises StoreError with the first difference, and where nothing is kept."""
    with store.reading():
        checked = check_sums(store)
    if checked.problems:
        more = f", and {len(checked.problems) - 1} more" if len(checked.problems) > 1 else ""
        raise StoreError(
            f"{checked.problems[0]}{more}; restart the service: what it finds to differ it makes anew from the reports"
        )
    if not checked.sums:
        raise StoreError("no sum is kept yet; start the service, which makes it from the reports")
    words = f"{checked.sums} kept sums are those of {checked.reports} stored reports, to the bit"
    say(words, sums=checked.sums, reports=checked.reports)
