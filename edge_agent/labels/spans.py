"""Labels that hold from one moment to another: which windows they are of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from edge_agent.labels.remembered import RememberedWindows
from headway.errors import DataError
from headway.samples import Samples


def of_windows(samples: Samples, windows: RememberedWindows) -> Samples:
    """The same labels, by ids of the windows that are remembered and ended in the spans, oldest first; where spans
    overlap the later one holds. Samples without spans stay as they are.

    Raises DataError where nothing is in a span.
    """
    if samples.spans is None or samples.y is None:
        return samples
    found: dict[str, int] = {}
    for row, (from_s, to_s) in enumerate(samples.spans.tolist()):
        found |= dict.fromkeys(ended_in(windows, from_s, to_s), row)
    rows = np.array(list(found.values()), np.int64)
    return replace(samples, ids=tuple(found), y=samples.y[rows], spans=None)


def ended_in(windows: RememberedWindows, from_s: float, to_s: float) -> list[str]:
    """Ids of the remembered windows that ended in between, oldest first. Raises DataError where there is none."""
    inside = windows.ended_between(from_s, to_s)
    if not inside:
        raise DataError(f"no window ended from {in_words(from_s)} to {in_words(to_s)}: {_known(windows)}")
    return inside


def in_words(time_s: float) -> str:
    """Seconds since 1970 as a date in UTC, to the second."""
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{time_s:g} s after 1970"


def _known(windows: RememberedWindows) -> str:
    span = windows.ended_span
    if span is None:
        return "no window that is remembered (horizon_rows) has a time; only windows with an id are"
    return f"those that are remembered (horizon_rows) ended from {in_words(span[0])} to {in_words(span[1])}"
