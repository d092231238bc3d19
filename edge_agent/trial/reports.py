"""When a report about a trial is due: a change at once, more of the same now and then."""

from __future__ import annotations

from collections.abc import Callable

from headway.wire import TrialReport


class Reports:
    """source: the report as it is now, None for nothing to tell; interval_s: between two, unless the state changes."""

    def __init__(self, source: Callable[[], TrialReport | None], interval_s: float) -> None:
        self._source, self._interval_s = source, interval_s
        self._told: tuple[str, int, str] | None = None
        self._told_at_s = 0.0

    def reconnected(self) -> None:
        """A fresh connection: say again how it stands."""
        self._told = None

    def due(self, now_s: float) -> bytes | None:
        """What to tell the aggregator now, if anything; only what is saved may be told."""
        report = self._source()
        if report is None:
            return None
        news = report.sha256, report.counter, report.state
        if news == self._told:
            return None
        same_state = self._told is not None and (news[0], news[2]) == (self._told[0], self._told[2])
        if same_state and now_s - self._told_at_s < self._interval_s:
            return None
        self._told, self._told_at_s = news, now_s
        return report.encode()
