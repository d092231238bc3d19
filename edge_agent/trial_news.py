"""Tells the aggregator how trials go, of a bundle and of a head, once what they hold is saved."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.agent import Agent
from edge_agent.store import RetryingStore
from edge_agent.trial import Reports, Trials
from headway.ports import Clock
from headway.wire import Kind


class TrialNews:
    """trials: of bundles, None where none are tried; publish: sends a payload of a kind; interval_s: between two."""

    def __init__(
        self,
        agent: Agent,
        store: RetryingStore,
        clock: Clock,
        publish: Callable[[Kind, bytes], object],
        trials: Trials | None,
        interval_s: float,
    ) -> None:
        self._agent, self._store, self._clock, self._publish = agent, store, clock, publish
        self._reports = {Kind.HEAD_TRIAL: Reports(lambda: agent.head_trial.report, interval_s)}
        if trials is not None:
            self._reports[Kind.TRIAL] = trials.reports

    def reconnected(self) -> None:
        """A fresh connection: say again how everything stands."""
        for reports in self._reports.values():
            reports.reconnected()

    def tell(self, now_s: float) -> None:
        """Save what trials have brought, and say what is due. What is not saved must not be told."""
        if self._agent.trial.unsaved or self._agent.head_trial.unsaved:
            self._store.commit(self._agent.changes(), self._clock.monotonic_s())
        if self._store.degraded:
            return
        for kind, reports in self._reports.items():
            report = reports.due(now_s)
            if report is not None:
                self._publish(kind, report)
