r"""The server's gate: no head is published that is worse than the last one; one that turns out worse is withdrawn.

    a head is made -> no worse on the bundle's sample -> published -> compared on devices' labels with the last good one
                   \-> worse: refused, and tried by a few devices     worse: the last good one is published again
                       whose labels may overrule the sample           no worse: it is the last good one from now on

The sample is of the training data; a fleet whose world has changed may do worse on it and be right. So it refuses, but
does not decide: devices try what was refused on their labels (docs/protocol.md, 4.24), and a head that passes there is
published. After one was withdrawn every new head has to pass there first, so that heads do not go to and fro; and what
was refused comes again only when the fleet's sums have changed.

Everything is a row in the store. An operator who lets go of a head that was held (`aggregator.held_heads`) ends all of
it: the gate begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import numpy as np

from aggregator.effects import Effect, Instant, Note
from aggregator.heads.canaries import DOUBTED, GOOD, Canaries
from aggregator.heads.evaluation import paired
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.staging import NOBODY, HeadStaging
from aggregator.policy import HeadTrialPolicy, Method, Policy
from aggregator.rollouts import Criteria, Outcome, Verdict, compared, judged
from aggregator.store import EventRow, Store
from aggregator.store.rows import HEAD_GATES, TRIALS, HeadGateRow
from headway.errors import RemoteError
from headway.fields import canonical_json
from headway.maths import Head, PairedLoss, Statistics, Task
from headway.wire import PublishedHead

# seconds between two looks at what devices tell of the last good head
LOOK_S = 10.0


class GateState(StrEnum):
    """open: the newest head is published; refused: a newer one is not; withdrawn: one that was published is not any
    more, and the next has to pass on labels."""

    OPEN = "open"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class HeadGate:
    """The gate of one feature space. Construct it, and call every method, inside a transaction of the store.

    tries: whether devices of this space try heads.
    """

    def __init__(self, fleet: str, model: FleetModel, policy: Policy, store: Store, tries: bool) -> None:
        self._model, self._policy, self._store = model, policy, store
        rules = self._rules = policy.head_gate
        self.enabled = rules.enabled and policy.head_trial.share == 0
        self._tries = tries and self.enabled
        trial = HeadTrialPolicy(
            rules.share,
            rules.loss_margin,
            rules.errors,
            rules.windows_min,
            rules.labelled_devices_min,
            rules.patience_s,
        )
        self._doubted = HeadStaging(fleet, trial, store, policy.limits.events_max, DOUBTED, rules.devices_min)
        self._good = Canaries(fleet, GOOD, store)
        self._start: Head | None = None
        self._looked_at_s = float("-inf")
        self._said = False

    def refusal(self, head: PublishedHead, last: PublishedHead | None, now: Instant) -> list[Effect] | None:
        """What follows when this head is not to be published; None when it is. last: the newest published one."""
        if not self.enabled:
            return None
        row = self._row()
        why = self._doubt(head, last, row)
        if not why:
            if row.state != GateState.OPEN:
                self._put(replace(row, state=str(GateState.OPEN), why="", since_s=now.wall_s))
                self._tell(head.version, "passed", "no worse on the bundle's sample than the last one", now)
            return None
        effects: list[Effect] = []
        if row.state == GateState.OPEN:
            row = replace(row, state=str(GateState.REFUSED), since_s=now.wall_s)
            self._tell(head.version, "refused", why, now)
            effects.append(Note(f"head {head.version} is not published: {why}", warning=True))
        if row.state != GateState.WITHDRAWN:
            row = replace(row, why=why)
        self._put(row)
        if self._tries and not self._doubted.open and self._store.rows(TRIALS).count():
            effects += [*self._good.end(), *self._doubted.propose(head, now)]
        return effects

    def decide(
        self, version: int, newest: Callable[[], PublishedHead | None], now: Instant
    ) -> tuple[PublishedHead | None, list[Effect]]:
        """A head that is to be published: one that labels spoke for, or the last good one again. And what follows.

        version: the newest; newest: reads the head that is published.
        """
        if not self._tries:
            return None, self._ended("the gate is switched off", now)
        if self._doubted.open:
            passed, effects = self._doubted.decide(version, self._model.space, now)
            if passed is not None:
                effects.append(self._passed(passed, now))
            return passed, effects
        if now.monotonic_s - self._looked_at_s < LOOK_S:
            return None, []
        self._looked_at_s, last = now.monotonic_s, newest()
        return (None, []) if last is None else self._watch(last, now)

    def begin_anew(self) -> None:
        """An operator has decided which head is published."""
        row = self._row()
        if row.state != GateState.OPEN:
            self._put(replace(row, state=str(GateState.OPEN), why="", good=b"", since_s=0.0))

    def forget(self, now: Instant) -> list[Effect]:
        """Something was taken out: no head that was made with it is tried, or published again."""
        if self._store.rows(HEAD_GATES).get(self._model.space) is not None:
            self._put(HeadGateRow(self._model.space, str(GateState.OPEN), "", b"", b"", 0.0, 0.0))
        return self._ended("a device was removed", now)

    def notice(self) -> list[Effect]:
        """That this bundle has nothing to score heads on, once."""
        said, self._said = self._said, True
        if said or not self.enabled or self._model.sample is not None:
            return []
        bundle = self._model.bundle or self._model.space[:12]
        why = f"bundle {bundle} carries no sample with classes to score heads on (edge-convert --buffer)"
        return [Note(f"{why}: a worse head is found by devices' labels only")]

    def _doubt(self, head: PublishedHead, last: PublishedHead | None, row: HeadGateRow) -> str:
        """Why this head is not to be published before labels have spoken for it; empty when it may."""
        if row.state == GateState.WITHDRAWN:
            return f"{row.why}; a new one has to pass on devices' labels first"
        sample = self._model.sample
        if sample is None:
            return ""
        good, second = self._good_head(row), sample.right(head.head)
        named = [(f"head {last.version}", last.head)] if last is not None else []
        named.append(("the last good head" if row.good else "the head without devices", good.head))
        for name, reference in named:
            first = sample.right(reference)
            if first is None or second is None:
                continue
            found = paired(first, second)
            if -found.gain - self._rules.errors * found.error > self._rules.margin:
                return (
                    f"of the bundle's sample of {found.rows} it has {100 * float(second.mean()):.1f} % right, {name} "
                    f"{100 * float(first.mean()):.1f} %: {100 * found.gain:.1f} +- {100 * found.error:.1f} points, "
                    f"margin {100 * self._rules.margin:g}"
                )
        return ""

    def _watch(self, last: PublishedHead, now: Instant) -> tuple[PublishedHead | None, list[Effect]]:
        """Compare what is published with the last good head, on labels of devices."""
        row = self._row()
        if row.state == GateState.WITHDRAWN:
            return None, self._good.end() if self._good.open else []
        trial = self._good.row() if self._good.open else None
        if trial is None:
            return None, self._begin_watch(row, last, now)
        good, told = PublishedHead.decode(trial.payload), self._good.told(trial)
        if good.space != self._model.space:
            return None, self._good.end()
        verdict = self._judged([report.frozen for report in told.values()])
        if verdict.outcome is Outcome.FAILED:
            why = f"head {last.version} is worse than head {good.version} on devices' labels: {verdict.why}"
            self._put(replace(row, state=str(GateState.WITHDRAWN), why=why, since_s=now.wall_s))
            self._tell(last.version, "withdrawn", why, now)
            note = Note(f"head {last.version} is withdrawn: {why}", warning=True)
            return good, [*self._good.end(), note]
        if verdict.outcome is Outcome.PASSED:
            self._put(replace(row, good=row.watched or last.encode()))
            return None, self._good.end()
        if self._good.waited_s(trial, now) >= self._rules.patience_s:
            return None, self._good.end()  # others may have labels
        return None, self._good.again(now)

    def _begin_watch(self, row: HeadGateRow, last: PublishedHead, now: Instant) -> list[Effect]:
        """At most every `watch_s`: a clock that was set back makes it sooner."""
        good = self._good_head(row)
        same = good.head.kernel.tobytes() == last.head.kernel.tobytes()
        if same or 0 <= now.wall_s - row.looked_s < self._rules.watch_s or not self._store.rows(TRIALS).count():
            return []
        self._put(replace(row, looked_s=now.wall_s, watched=last.encode()))
        return self._good.propose(good, self._rules.share, self._rules.devices_min, now)[1]

    def _judged(self, losses: list[PairedLoss]) -> Verdict:
        """Of what is published against the last good head; devices tell it the other way round."""
        rules = self._rules
        criteria = Criteria(rules.loss_margin, rules.errors, rules.windows_min, rules.labelled_devices_min)
        return judged(compared([PairedLoss(one.count, -one.total, one.squares) for one in losses]), criteria)

    def _passed(self, head: PublishedHead, now: Instant) -> Note:
        why = "devices' labels have spoken for it"
        self._put(replace(self._row(), state=str(GateState.OPEN), why="", good=head.encode(), since_s=now.wall_s))
        self._tell(head.version, "passed", why, now)
        return Note(f"head {head.version} is published after all: {why}")

    def _ended(self, why: str, now: Instant) -> list[Effect]:
        """Nothing is tried any more."""
        return [
            *(self._doubted.drop(why, now) if self._doubted.open else []),
            *(self._good.end() if self._good.open else []),
        ]

    def _good_head(self, row: HeadGateRow) -> PublishedHead:
        """The last one that labels spoke for; before it, what the bundle alone makes."""
        if row.good:
            try:
                good = PublishedHead.decode(row.good)
            except RemoteError:
                good = None  # stored by a version that wrote it otherwise
            if good is not None and good.head.kernel.shape[0] == len(self._model.start.kernel):
                return good
        self._start = self._start or self._made_of_nothing()
        return PublishedHead(1, str(self._policy.method), self._model.space, 0, 0, self._start)

    def _made_of_nothing(self) -> Head:
        """The head that the method makes before any device has learned."""
        source = self._model.training_statistics
        if self._policy.method is Method.AVERAGE or not source.samples or self._model.task is not Task.CLASSIFICATION:
            return self._model.start
        nothing = Statistics.zeros(source.size, source.classes, source.space)
        try:
            return self._model.solve(source, nothing, self._policy.shrinkage)
        except np.linalg.LinAlgError:
            return self._model.start  # training data of too few samples

    def _row(self) -> HeadGateRow:
        found = self._store.rows(HEAD_GATES).get(self._model.space)
        return found or HeadGateRow(self._model.space, str(GateState.OPEN), "", b"", b"", 0.0, 0.0)

    def _put(self, row: HeadGateRow) -> None:
        self._store.rows(HEAD_GATES).put(row)

    def _tell(self, version: int, how: str, why: str, now: Instant) -> None:
        detail = canonical_json({"head": version, "state": how, "why": why[:600]}).decode()
        self._store.add_event(EventRow(NOBODY, "head-gate", detail, now.wall_s), self._policy.limits.events_max)
