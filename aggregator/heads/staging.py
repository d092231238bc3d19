r"""Gives a new head to a few devices first, which try it on their labels; the others keep the old one until it passes.

    a head is made -> canaries are sent it -> they tell paired losses -> passed: published   failed: never published
                                                                    \-> undecided for too long: never published either

One candidate at a time. It is a row in the store, so that a restart at any moment goes on, and it is no published head:
its version is used again by the next one when it fails.
"""

from __future__ import annotations

import hashlib
import math

from aggregator.effects import Effect, Instant, Note
from aggregator.policy import HeadTrialPolicy
from aggregator.rollouts import Criteria, Outcome, compared, judged
from aggregator.store import EventRow, Store
from aggregator.store.rows import HEAD_CANDIDATES, HEAD_TRIALS, TRIALS, HeadCandidateRow, HeadTrialRow
from headway.errors import RemoteError
from headway.fields import canonical_json
from headway.ports import Outgoing
from headway.wire import TENSORS_TYPE, Kind, PublishedHead, TrialReport, topic

CANDIDATE = "candidate"
AGAIN_S = 300.0
NOBODY = "_heads"


class HeadStaging:
    """The candidate of one fleet, if there is one: then it is `open`. Construct it, and call every method, inside a
    transaction of the store."""

    def __init__(self, fleet: str, policy: HeadTrialPolicy, store: Store, events_max: int) -> None:
        self._fleet, self._policy, self._store, self._events_max = fleet, policy, store, events_max
        self._sent_at_s: float | None = None
        # of the monotonic clock: since when this process has known the candidate
        self._known_since_s: float | None = None
        self.open = self._row() is not None

    @property
    def enabled(self) -> bool:
        """Whether new heads are tried before they are published."""
        return self._policy.share > 0

    def propose(self, head: PublishedHead, now: Instant) -> list[Effect]:
        """Have this head tried."""
        able = sorted(
            (row.device for row in self._store.rows(TRIALS).all() if self._may_run(row.device, head.space)),
            key=lambda device: hashlib.sha256(f"head/{head.version}/{device}".encode()).digest(),
        )
        count = max(math.ceil(self._policy.share * self._store.device_count()), self._policy.devices_min)
        canaries = able[:count]
        self._store.rows(HEAD_CANDIDATES).put(
            HeadCandidateRow(CANDIDATE, head.encode(), "\n".join(canaries), now.wall_s)
        )
        self._sent_at_s, self._known_since_s, self.open = None, now.monotonic_s, True
        few = "" if len(canaries) >= self._policy.devices_min else f"; {self._policy.devices_min} are needed to decide"
        note = Note(f"head {head.version} is tried by {len(canaries)} devices{few}", warning=bool(few))
        return [note, *self.again(now)]

    def _may_run(self, device: str, space: str) -> bool:
        """Whether the device's bundle is of this feature space, or it has not said of which."""
        row = self._store.registry.get(device)
        return row is None or row.space in ("", space)

    def again(self, now: Instant) -> list[Effect]:
        """The candidate once more to canaries that have not said a word about it, at most every few minutes."""
        row = self._row() if self.open else None
        if row is None or (self._sent_at_s is not None and now.monotonic_s - self._sent_at_s < AGAIN_S):
            return []
        self._sent_at_s = now.monotonic_s
        told = self._told(row)
        return [self._message(name, row.payload) for name in row.canaries.split("\n") if name and name not in told]

    def on_report(self, device: str, payload: bytes, now: Instant) -> None:
        """A device tells how a head does on its labels. Raises RemoteError."""
        report = TrialReport.decode(payload)
        known = self._store.rows(HEAD_TRIALS).get(device)
        if known is not None:
            before = TrialReport.decode(known.payload)
            if before.sha256 == report.sha256 and before.counter > report.counter:
                return  # an older one, late
        self._store.rows(HEAD_TRIALS).put(HeadTrialRow(device, payload, now.wall_s))

    def decide(self, version: int, space: str, now: Instant) -> tuple[PublishedHead | None, list[Effect]]:
        """The candidate, when it has passed and is to be published; and what follows from where it stands.

        version: the newest that is published; space: of the fleet's bundle.
        """
        row = self._row() if self.open else None
        if row is None:
            return None, []
        head = PublishedHead.decode(row.payload)
        if head.version <= version or head.space != space or not self.enabled:
            return None, self._end(row, head, "dropped", "it is not the next head any more", now)
        told = self._told(row)
        criteria = Criteria(
            self._policy.margin, self._policy.errors, self._policy.windows_min, self._policy.devices_min
        )
        found = {
            "heads": judged(compared([report.frozen for report in told.values()]), criteria),
            "what is served": judged(compared([report.served for report in told.values()]), criteria),
        }
        why = "; ".join(f"{what}: {verdict.why}" for what, verdict in found.items())
        outcomes = {verdict.outcome for verdict in found.values()}
        failed = [report.problem for report in told.values() if report.state == "failed"]
        if Outcome.FAILED in outcomes or len(failed) > len(row.canaries.split("\n")) / 2:
            return None, self._end(row, head, "halted", "; ".join([*failed[:1], why]), now)
        if outcomes == {Outcome.PASSED}:
            return head, self._end(row, head, "passed", why, now)
        if self._waited_s(row, now) >= self._policy.patience_s:
            return None, self._end(row, head, "undecided", why, now)
        return None, self.again(now)

    def _waited_s(self, row: HeadCandidateRow, now: Instant) -> float:
        """How long the candidate has been tried, at least: a wall clock that was set back must not stretch it."""
        if self._known_since_s is None:
            self._known_since_s = now.monotonic_s
        return max(now.wall_s - row.since_s, now.monotonic_s - self._known_since_s)

    def _end(self, row: HeadCandidateRow, head: PublishedHead, how: str, why: str, now: Instant) -> list[Effect]:
        """Nobody tries it any more."""
        self._store.rows(HEAD_CANDIDATES).remove(row.name)
        self.open = False
        detail = canonical_json({"head": head.version, "state": how, "why": why[:600]}).decode()
        self._store.add_event(EventRow(NOBODY, "head-trial", detail, now.wall_s), self._events_max)
        withdrawn = [self._message(name, b"") for name in row.canaries.split("\n") if name]
        return [*withdrawn, Note(f"head {head.version} {how}: {why}", warning=how != "passed")]

    def _told(self, row: HeadCandidateRow) -> dict[str, TrialReport]:
        """What canaries have told of this candidate, by device."""
        sha256, canaries = hashlib.sha256(row.payload).hexdigest(), row.canaries.split("\n")
        reports = {}
        for device in canaries:
            known = self._store.rows(HEAD_TRIALS).get(device)
            if known is not None and (report := TrialReport.decode(known.payload)).sha256 == sha256:
                reports[device] = report
        return reports

    def _row(self) -> HeadCandidateRow | None:
        row = self._store.rows(HEAD_CANDIDATES).get(CANDIDATE)
        if row is None:
            return None
        try:
            PublishedHead.decode(row.payload)
        except RemoteError:
            self._store.rows(HEAD_CANDIDATES).remove(CANDIDATE)  # stored by a version that wrote it otherwise
            return None
        return row

    def _message(self, device: str, payload: bytes) -> Outgoing:
        return Outgoing(topic(self._fleet, device, Kind.CANDIDATE), payload, content_type=TENSORS_TYPE)
