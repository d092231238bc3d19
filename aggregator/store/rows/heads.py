"""Declares what is kept of heads: those that are tried, the gate that lets them through, their worth in the field."""

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


@dataclass(frozen=True, slots=True)
class HeadFieldRow:
    """What devices scored while a version was the newest head of its space. labels: that were reported then;
    served_right, frozen_right: of them, those that the served and the frozen head had right."""

    space: str
    version: int
    labels: int
    served_right: int
    frozen_right: int


@dataclass(frozen=True, slots=True)
class HeadSpanRow:
    """What a device scored from one change of the head that serves there to the next. number: counts the spans of the
    device; head: its name; since_s: wall clock of the first label in it; the rest as in `HeadFieldRow`."""

    device: str
    number: int
    head: str
    since_s: float
    labels: int
    served_right: int
    frozen_right: int


@dataclass(frozen=True, slots=True)
class HeadNewsRow:
    """A device that changed since the last head of a space. samples: its labels then, of all its epochs; -1: of which
    it is not known what was published."""

    space: str
    device: str
    samples: int


HEAD_CANDIDATES = Collection("head_candidates", HeadCandidateRow, ("name",))
HEAD_TRIALS = Collection("head_trials", HeadTrialRow, ("device",))
HEAD_GATES = Collection("head_gates", HeadGateRow, ("space",))
AVERAGING = Collection("averaging", AveragingRow, ("space",))
HEAD_FIELD = Collection("head_field", HeadFieldRow, ("space", "version"))
HEAD_SPANS = Collection("head_spans", HeadSpanRow, ("device", "number"))
HEAD_NEWS = Collection("head_news", HeadNewsRow, ("space", "device"))
