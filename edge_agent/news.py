"""Tells the aggregator, beside reports, how trials go, and of which windows people might give the class.

What is told is saved first: what a power cut takes back must not have been told.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.store import RetryingStore
from edge_agent.trial import Reports, Trials
from headway.ports import Clock
from headway.wire import Kind

# messages about wanted labels that may follow each other closely, so that a device that has just begun soon asks well
WISHES_AT_ONCE_MAX = 4
LOOK_INTERVAL_S = 10.0


class News:
    """trials: of bundles, None where none are tried. publish: sends a payload of a kind, and gives the message's token,
    None without a connection."""

    def __init__(
        self,
        config: AgentConfig,
        agent: Agent,
        store: RetryingStore,
        clock: Clock,
        publish: Callable[[Kind, bytes], int | None],
        trials: Trials | None,
    ) -> None:
        self._agent, self._store, self._clock, self._publish = agent, store, clock, publish
        self._reports = {Kind.HEAD_TRIAL: Reports(lambda: agent.head_trial.report, config.trial.report_interval_s)}
        if trials is not None:
            self._reports[Kind.TRIAL] = trials.reports
        self._wishes = Wishes(config.labels_wanted.interval_s, clock.monotonic_s())

    def reconnected(self, session_present: bool) -> None:
        """A fresh connection: say again how everything stands. session_present: the broker knows what it retained."""
        for reports in self._reports.values():
            reports.reconnected()
        self._wishes.reconnected(session_present)

    def delivered(self, token: int) -> None:
        """The broker has a message of any kind."""
        self._wishes.delivered(token)

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
        if self._wishes.may_be_told(now_s):
            self._tell_wishes(now_s)

    def _tell_wishes(self, now_s: float) -> None:
        message = self._agent.labelling.wanted.message()
        if message is None or not (message.windows or self._wishes.told):
            return
        payload = message.encode()
        if self._agent.labelling.wanted.unsaved:
            self._store.commit(self._agent.changes(), self._clock.monotonic_s())
        if payload != self._wishes.told and not self._store.degraded:
            self._wishes.sent(payload, self._publish(Kind.LABELS_WANTED, payload))


class Wishes:
    """Decides when wanted labels may be told: some messages at once, and then one in each `interval_s`.

    told: the message that the broker has, or will have; empty: none.
    """

    def __init__(self, interval_s: float, now_s: float) -> None:
        self._interval_s, self._counted_s = interval_s, now_s
        self._room = float(WISHES_AT_ONCE_MAX)
        self._looked_s = float("-inf")
        self._token: int | None = None
        self.told = b""

    def may_be_told(self, now_s: float) -> bool:
        """Whether it is time to look what is wanted, and to tell it if that has changed."""
        self._room = min(self._room + (now_s - self._counted_s) / self._interval_s, float(WISHES_AT_ONCE_MAX))
        self._counted_s = now_s
        if self._room < 1.0 or now_s - self._looked_s < min(LOOK_INTERVAL_S, self._interval_s):
            return False
        self._looked_s = now_s
        return True

    def sent(self, payload: bytes, token: int | None) -> None:
        """token: None: there was no connection."""
        if token is not None:
            self._room, self.told, self._token = self._room - 1.0, payload, token

    def delivered(self, token: int) -> None:
        """The broker has a message of any kind."""
        if token == self._token:
            self._token = None

    def reconnected(self, session_present: bool) -> None:
        """What was in flight may be lost, and what was retained, where the broker has lost the session."""
        if self._token is not None or not session_present:
            self._token, self.told = None, b""
