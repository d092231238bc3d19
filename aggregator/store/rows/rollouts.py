"""Declares what is kept of rollouts: each one, its devices, operators' acts, trials, and how orders are meant."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout. plan: JSON text, see `aggregator.rollouts.plan`; the fields from sha256 to space are the bundle's.

    state, stage (from 0), phase: where it stands; why: in words; *_since_s: wall clock.
    """

    name: str
    number: int
    plan: str
    sha256: str
    size: int
    bundle: str
    version: str
    release: int
    space: str
    state: str
    stage: int
    phase: str
    why: str
    created_s: float
    state_since_s: float
    phase_since_s: float


@dataclass(frozen=True, slots=True)
class RolloutDeviceRow:
    """A device of a rollout. state: what the device itself confirmed last; problem: why it failed there."""

    rollout: str
    device: str
    stage: int
    state: str
    problem: str
    since_s: float


@dataclass(frozen=True, slots=True)
class RolloutActRow:
    """What an operator wants of a rollout; the service takes these in order."""

    number: int
    rollout: str
    act: str
    who: str
    remark: str
    at_s: float


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What a device told last of the bundle that it tries; payload: an encoded TrialReport."""

    device: str
    payload: bytes
    received_s: float


@dataclass(frozen=True, slots=True)
class OrderModeRow:
    """How the order of a device is meant (`headway.wire.Desired.mode`); without a row: to switch."""

    device: str
    mode: str


ROLLOUTS = Collection("rollouts", RolloutRow, ("name",))
ROLLOUT_DEVICES = Collection("rollout_devices", RolloutDeviceRow, ("rollout", "device"), ("state",))
ROLLOUT_ACTS = Collection("rollout_acts", RolloutActRow, ("number",))
TRIALS = Collection("trials", TrialRow, ("device",))
ORDER_MODES = Collection("order_modes", OrderModeRow, ("device",))
