"""Rollouts as people begin, follow and steer them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from aggregator.operations.operator import Operator
from aggregator.rollouts import OPEN, Act, Plan, State, ask, begin, stage_evidence, stored_plan
from aggregator.store import DeliveryRow, Store
from aggregator.store.rows import ROLLOUT_DEVICES, ROLLOUTS, RolloutRow
from headway.errors import UnknownNameError
from headway.fields import JsonValue


@dataclass(frozen=True, slots=True)
class RolloutDeviceView:
    """A device of a rollout. stage: from 1; state: what the device confirmed last; problem: why it failed there."""

    device: str
    stage: int
    state: str
    problem: str


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout. stage: from 1; why: in words; device_states: how many are in each; evidence: labels so far."""

    rollout: str
    bundle: str
    version: str
    release: int
    state: str
    stage: int
    stages: int
    phase: str
    why: str
    created_s: float
    state_since_s: float
    device_states: dict[str, int]
    evidence: str = ""


def begin_rollout(operator: Operator, name: str, plan: Plan, bundle: DeliveryRow) -> RolloutView:
    """Write a rollout that the running service takes up. Raises ConfigError, ConflictError, see `begin`."""
    row = begin(operator.store, name, plan, bundle, operator.now_s)
    bundle_of: dict[str, JsonValue] = {"sha256": row.sha256, "release": row.release, "plan": plan.encode()}
    operator.did("rollout-start", name, **bundle_of)
    return rollout_view(operator.store, name)


def act_on_rollout(operator: Operator, name: str, act: Act, remark: str) -> None:
    """Ask the running service; it does so within its housekeeping interval. Raises UnknownNameError, ConflictError."""
    ask(operator.store, name, act, operator.who, remark, operator.now_s)
    operator.did(f"rollout-{act}", name, remark=remark)


def list_rollouts(store: Store) -> list[RolloutView]:
    """All of them, the newest first. In a transaction."""
    return [_view(store, row) for row in sorted(store.rows(ROLLOUTS).all(), key=lambda row: -row.number)]


def rollout_view(store: Store, name: str) -> RolloutView:
    """One of them. In a transaction. Raises UnknownNameError."""
    row = store.rows(ROLLOUTS).get(name)
    if row is None:
        raise UnknownNameError(f"no rollout {name!r}; `edge-fleet rollout list` shows them")
    return _view(store, row)


def rollout_devices(store: Store, name: str) -> list[RolloutDeviceView]:
    """Each of its devices, by name. In a transaction."""
    rows = store.rows(ROLLOUT_DEVICES).all(name)
    return [RolloutDeviceView(row.device, row.stage + 1, row.state, row.problem) for row in rows]


def _view(store: Store, row: RolloutRow) -> RolloutView:
    states = Counter(one.state for one in store.rows(ROLLOUT_DEVICES).all(row.name))
    evidence = stage_evidence(store, row)[row.stage].why if State(row.state) in OPEN else ""
    return RolloutView(
        row.name, row.bundle, row.version, row.release, row.state, row.stage + 1, len(stored_plan(row.plan).stages),
        row.phase, row.why, row.created_s, row.state_since_s, dict(sorted(states.items())), evidence
    )  # fmt: skip
