"""Declares what is kept of heads that are tried before they are published, and of the gate that lets them through."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class HeadCandidateRow:
    """A head that is tried. name: what for, see `aggregator.heads.canaries`; payload: an encoded PublishedHead;
    canaries: devices that try it, a line each; since_s: wall clock."""

    name: str
    payload: bytes
    canaries: str
    since_s: float


@dataclass(frozen=True, slots=True)
class HeadTrialRow:
    """What a device told last of a head that it tries; payload: an encoded TrialReport."""

    device: str
    payload: bytes
    received_s: float


@dataclass(frozen=True, slots=True)
class HeadGateRow:
    """Where the gate of one feature space's heads stands. state: see `aggregator.heads.head_gate.GateState`; why: in
    words; good: an encoded PublishedHead, the last one that labels spoke for, empty before there is one; watched: the
    one that was published when the newest comparison with it began, at looked_s. since_s: of the state. Wall clock."""

    space: str
    state: str
    why: str
    good: bytes
    watched: bytes
    since_s: float
    looked_s: float


@dataclass(frozen=True, slots=True)
class AveragingRow:
    """What the server's optimiser remembers of the rounds of one feature space. strategy: whose it is; version: of the
    head that it led to; memory: see `aggregator.heads.server_optimizers.Memory`."""

    space: str
    strategy: str
    version: int
    memory: bytes


HEAD_CANDIDATES = Collection("head_candidates", HeadCandidateRow, ("name",))
HEAD_TRIALS = Collection("head_trials", HeadTrialRow, ("device",))
HEAD_GATES = Collection("head_gates", HeadGateRow, ("space",))
AVERAGING = Collection("averaging", AveragingRow, ("space",))
