r"""Gives a new head to a few devices first, which try it on their labels; the others keep the old one until it passes.

    a head is made -> canaries are sent it -> they tell paired losses -> passed: published   failed: never published
                                                                    \-> undecided for too long: never published either

One candidate at a time. It is a row in the store, so that a restart at any moment goes on, and it is no published head:
its version is used again by the next one when it fails.
"""

from __future__ import annotations

from collections.abc import Callable

from aggregator.effects import Effect, Instant, Note
from aggregator.heads.canaries import CANDIDATE, Canaries
from aggregator.policy import HeadTrialPolicy
from aggregator.rollouts import Criteria, Outcome, compared, judged
from aggregator.store import EventRow, Store
from aggregator.store.rows import HEAD_TRIALS, HeadTrialRow
from headway.fields import canonical_json
from headway.wire import PublishedHead, TrialReport

NOBODY = "_heads"


class HeadStaging:
    """The candidate of one fleet, if there is one: then it is `open`. Construct it, and call every method, inside a
    transaction of the store.

    name: what it is tried for; canaries_min: devices that try it, `devices_min` of the policy where that is more.
    """

    def __init__(
        self,
        fleet: str,
        policy: HeadTrialPolicy,
        store: Store,
        events_max: int,
        name: str = CANDIDATE,
        canaries_min: int = 0,
    ) -> None:
        self._canaries_min = max(canaries_min, policy.devices_min)
        self._policy, self._store, self._events_max = policy, store, events_max
        self._canaries = Canaries(fleet, name, store)

    @property
    def open(self) -> bool:
        """Whether a head is tried."""
        return self._canaries.open

    @property
    def enabled(self) -> bool:
        """Whether new heads are tried before they are published."""
        return self._policy.share > 0

    def propose(self, head: PublishedHead, now: Instant) -> list[Effect]:
        """Have this head tried."""
        count, messages = self._canaries.propose(head, self._policy.share, self._canaries_min, now)
        few = "" if count >= self._policy.devices_min else f"; {self._policy.devices_min} are needed to decide"
        return [Note(f"head {head.version} is tried by {count} devices{few}", warning=bool(few)), *messages]

    def again(self, now: Instant) -> list[Effect]:
        """The candidate once more to canaries that have not said a word about it, at most every few minutes."""
        return self._canaries.again(now)

    def on_report(self, device: str, payload: bytes, now: Instant, admit: Callable[[str, Instant], object]) -> None:
        """A device tells how a head does on its labels. admit: finds it a place in the fleet. Raises RemoteError."""
        report = TrialReport.decode(payload)
        admit(device, now)
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
        row = self._canaries.row() if self.open else None
        if row is None:
            return None, []
        head = PublishedHead.decode(row.payload)
        if head.version <= version or head.space != space or not self.enabled:
            return None, self._end(head, "dropped", "it is not the next head any more", now)
        told = self._canaries.told(row)
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
            return None, self._end(head, "halted", "; ".join([*failed[:1], why]), now)
        if outcomes == {Outcome.PASSED}:
            return head, self._end(head, "passed", why, now)
        if self._canaries.waited_s(row, now) >= self._policy.patience_s:
            return None, self._end(head, "undecided", why, now)
        return None, self.again(now)

    def drop(self, why: str, now: Instant) -> list[Effect]:
        """The candidate is not wanted any more; nothing where there is none."""
        row = self._canaries.row() if self.open else None
        return [] if row is None else self._end(PublishedHead.decode(row.payload), "dropped", why, now)

    def _end(self, head: PublishedHead, how: str, why: str, now: Instant) -> list[Effect]:
        """Nobody tries it any more."""
        withdrawn = self._canaries.end()
        detail = canonical_json({"head": head.version, "state": how, "why": why[:600]}).decode()
        self._store.add_event(EventRow(NOBODY, "head-trial", detail, now.wall_s), self._events_max)
        return [*withdrawn, Note(f"head {head.version} {how}: {why}", warning=how != "passed")]
