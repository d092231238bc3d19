"""Declares what is kept of heads that are tried before they are published."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class HeadCandidateRow:
    """The head that is tried. name: always the same, there is one; payload: an encoded PublishedHead; canaries: devices
    that try it, a line each; since_s: wall clock."""

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


HEAD_CANDIDATES = Collection("head_candidates", HeadCandidateRow, ("name",))
HEAD_TRIALS = Collection("head_trials", HeadTrialRow, ("device",))
