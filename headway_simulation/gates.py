"""Follows the server's gate, beside it: which heads are made of what is counted, and which are published for a reason
of their own.

A head that is published is the one of what counts, but for two: the last good one again, when devices' labels said that
it is better than the published one; and one that was held back after that, once labels spoke for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from aggregator.heads import DOUBTED, GOOD, FleetModel, GateState
from aggregator.policy import HeadGatePolicy, HeadTrialPolicy, Method, Policy
from aggregator.store import StoredHead
from aggregator.store.rows import HEAD_CANDIDATES, HEAD_GATES, HeadCandidateRow
from headway.maths import Head, Statistics
from headway.wire import PublishedHead
from headway_simulation.head_trials import HeadTrials, bits_of
from headway_simulation.history import Violation
from headway_simulation.server_disk import ServerStore


class How(Enum):
    """Why a head is published: MADE of what counts; AGAIN: the last good one; PASSED: labels spoke for it."""

    MADE = auto()
    AGAIN = auto()
    PASSED = auto()


@dataclass(slots=True)
class Gates:
    """states: of each feature space, as the server's disk has it; trials: heads that are tried for the gate, by what
    for; published: bits of every head that was ever published of a space; withdrawn: how many were."""

    states: dict[str, str] = field(default_factory=dict)
    trials: dict[str, HeadCandidateRow] = field(default_factory=dict)
    published: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    withdrawn: int = 0

    def copy(self) -> Gates:
        """For a copy of the server's disk."""
        return Gates(dict(self.states), dict(self.trials))

    def set_back(self, copy: Gates | None) -> None:
        """The server's disk is an older copy, or empty. What was published stays so."""
        self.states, self.trials = ({}, {}) if copy is None else (dict(copy.states), dict(copy.trials))

    def closed(self, space: str) -> bool:
        """Whether the newest head of a space was withdrawn, and none has passed since."""
        return self.states.get(space, GateState.OPEN) == GateState.WITHDRAWN

    def committed(
        self,
        store: ServerStore,
        heads: Sequence[StoredHead],
        policy: HeadGatePolicy,
        trials: HeadTrials,
        first: Mapping[str, Head],
        removed: bool,
    ) -> tuple[list[How], HeadCandidateRow | None]:
        """The server has ended a transaction, and published these. Returns why each, and a head that is to be tried
        before it is published, if there is a new one. first: the heads that bundles make alone, by space; removed: a
        device was taken out, which ends what the gate had decided.

        Raises Violation.
        """
        before, self.states = self.states, {row.space: row.state for row in store.rows(HEAD_GATES).all()}
        tried, self.trials = self.trials, {row.name: row for row in store.rows(HEAD_CANDIDATES).all()}
        told = trials.heard(store) if heads else {}
        reasons = []
        for stored in heads:
            space, head = stored.space, PublishedHead.decode(stored.payload)
            now, was = (states.get(space, GateState.OPEN) for states in (self.states, before))
            if now == GateState.WITHDRAWN:
                if was == GateState.WITHDRAWN:
                    raise Violation(
                        f"head {head.version} was published after a bad one, and no label has spoken for it"
                    )
                self._check_again(head, tried.get(GOOD), first[space], trials, told, policy)
                self.withdrawn += 1
                reasons.append(How.AGAIN)
            elif (row := tried.get(DOUBTED)) is not None and _same(row, head) and DOUBTED not in self.trials:
                trials.check_told(f"head {head.version}", row, told, _as_trial(policy))
                reasons.append(How.PASSED)
                before[space] = GateState.OPEN  # the next one may be made in the same transaction
            else:
                if was == GateState.WITHDRAWN and not removed:
                    raise Violation(
                        f"head {head.version} was published after a bad one, and no label has spoken for it"
                    )
                reasons.append(How.MADE)
            self.published[space].add(bits_of(head.head))
        again = {stored.space for stored, how in zip(heads, reasons, strict=True) if how is How.AGAIN}
        for space, state in self.states.items():
            if state == GateState.WITHDRAWN != before.get(space) and space not in again:
                raise Violation(f"the head of space {space[:8]} is withdrawn, and none is published in its place")
        doubted = self.trials.get(DOUBTED)
        return reasons, doubted if doubted != tried.get(DOUBTED) else None

    def _check_again(
        self,
        head: PublishedHead,
        row: HeadCandidateRow | None,
        first: Head,
        trials: HeadTrials,
        told: Mapping[str, bytes],
        policy: HeadGatePolicy,
    ) -> None:
        """The head before it has turned out worse than one that was published, or than that of the bundle alone."""
        if row is None or not _same(row, head):
            raise Violation(f"head {head.version} was published in place of a withdrawn one, and nobody compared it")
        if bits_of(head.head) not in {*self.published[head.space], bits_of(first)}:
            raise Violation(f"head {head.version} is said to be an earlier one, and none was like that")
        trials.check_told(f"head {head.version}", row, told, _as_trial(policy), better=True)


def _same(row: HeadCandidateRow, head: PublishedHead) -> bool:
    return bits_of(PublishedHead.decode(row.payload).head) == bits_of(head.head)


def _as_trial(policy: HeadGatePolicy) -> HeadTrialPolicy:
    return HeadTrialPolicy(
        margin=policy.loss_margin, windows_min=policy.windows_min, devices_min=policy.labelled_devices_min
    )


def made_of_nothing(model: FleetModel, policy: Policy) -> Head:
    """The head that a bundle alone makes."""
    source = model.training_statistics
    if policy.method is Method.AVERAGE:
        return model.start
    nothing = Statistics.zeros(source.size, source.classes, source.space)
    return model.solve(source, nothing, policy.shrinkage)
