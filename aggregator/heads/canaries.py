"""Has a few devices try a head on their labels, and gathers what they tell of it.

What is tried is a row in the store, so that a restart at any moment goes on. A device tries one head at a time: of two
that it is sent, the later one.
"""

from __future__ import annotations

import hashlib
import math

from aggregator.effects import Effect, Instant
from aggregator.store import Store
from aggregator.store.rows import EVERY_EPOCH, HEAD_CANDIDATES, HEAD_TRIALS, QUARANTINED, TRIALS, HeadCandidateRow
from headway.errors import RemoteError
from headway.ports import Outgoing
from headway.wire import TENSORS_TYPE, Kind, PublishedHead, TrialReport, topic

# what a head is tried for: `aggregator.heads.staging`, and twice `aggregator.heads.head_gate`
CANDIDATE, DOUBTED, GOOD = "candidate", "doubted", "good"
AGAIN_S = 300.0


class Canaries:
    """The trial of one head, if there is one: then it is `open`. Construct it, and call every method, inside a
    transaction of the store. name: what the head is tried for."""

    def __init__(self, fleet: str, name: str, store: Store) -> None:
        self._fleet, self._name, self._store = fleet, name, store
        self._sent_at_s: float | None = None
        # of the monotonic clock: since when this process has known the trial
        self._known_since_s: float | None = None
        self.open = self.row() is not None

    def propose(self, head: PublishedHead, share: float, devices_min: int, now: Instant) -> tuple[int, list[Effect]]:
        """Have this head tried by a share of the fleet, but at least so many; how many try it."""
        aside, known = self._aside(), self._store.rows(TRIALS).all()
        able = sorted(
            (row.device for row in known if row.device not in aside and self._may_run(row.device, head.space)),
            key=lambda device: hashlib.sha256(f"head/{head.version}/{device}".encode()).digest(),
        )
        canaries = able[: max(math.ceil(share * self._store.device_count()), devices_min)]
        row = HeadCandidateRow(self._name, head.encode(), "\n".join(canaries), now.wall_s)
        self._store.rows(HEAD_CANDIDATES).put(row)
        self._sent_at_s, self._known_since_s, self.open = None, now.monotonic_s, True
        return len(canaries), self.again(now)

    def again(self, now: Instant) -> list[Effect]:
        """The head once more to canaries that have not said a word about it, at most every few minutes."""
        row = self.row() if self.open else None
        if row is None or (self._sent_at_s is not None and now.monotonic_s - self._sent_at_s < AGAIN_S):
            return []
        self._sent_at_s = now.monotonic_s
        others = {*self.told(row), *self._aside()}
        return [self._message(name, row.payload) for name in row.canaries.split("\n") if name and name not in others]

    def told(self, row: HeadCandidateRow) -> dict[str, TrialReport]:
        """What canaries have told of this head, by device; whoever is set aside has no say."""
        sha256, aside = hashlib.sha256(row.payload).hexdigest(), self._aside()
        reports = {}
        for device in row.canaries.split("\n"):
            known = None if device in aside else self._store.rows(HEAD_TRIALS).get(device)
            if known is not None and (report := TrialReport.decode(known.payload)).sha256 == sha256:
                reports[device] = report
        return reports

    def waited_s(self, row: HeadCandidateRow, now: Instant) -> float:
        """How long the head has been tried, at least: a wall clock that was set back must not stretch it."""
        if self._known_since_s is None:
            self._known_since_s = now.monotonic_s
        return max(now.wall_s - row.since_s, now.monotonic_s - self._known_since_s)

    def end(self) -> list[Effect]:
        """Nobody tries it any more."""
        row = self.row()
        self._store.rows(HEAD_CANDIDATES).remove(self._name)
        self.open = False
        return [] if row is None else [self._message(name, b"") for name in row.canaries.split("\n") if name]

    def row(self) -> HeadCandidateRow | None:
        """What is stored of the trial."""
        row = self._store.rows(HEAD_CANDIDATES).get(self._name)
        if row is None:
            return None
        try:
            PublishedHead.decode(row.payload)
        except RemoteError:
            self._store.rows(HEAD_CANDIDATES).remove(self._name)  # stored by a version that wrote it otherwise
            return None
        return row

    def _may_run(self, device: str, space: str) -> bool:
        """Whether the device's bundle is of this feature space, or it has not said of which."""
        row = self._store.registry.get(device)
        return row is None or row.space in ("", space)

    def _aside(self) -> set[str]:
        """Devices that are set aside, which judge nothing."""
        return {row.device for row in self._store.rows(QUARANTINED).where(epoch=EVERY_EPOCH)}

    def _message(self, device: str, payload: bytes) -> Outgoing:
        return Outgoing(topic(self._fleet, device, Kind.CANDIDATE), payload, content_type=TENSORS_TYPE)
