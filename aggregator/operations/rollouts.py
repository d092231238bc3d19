"""Rollouts as people begin, follow and steer them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aggregator.operations.operator import Operator
from aggregator.rollouts import Act, Comparison, Plan, ask, begin, stage_evidence, stored_plan
from aggregator.store import DeliveryRow, Store
from aggregator.store.rows import ROLLOUT_DEVICES, ROLLOUTS, RolloutDeviceRow, RolloutRow
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
    """A rollout. stage: from 1; why: in words; device_states: how many are in each."""

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


@dataclass(frozen=True, slots=True)
class LossView:
    """Paired losses of one kind, new bundle less old one.

    devices: with labels; windows: theirs; mean: None without any; error: its standard error, None where it cannot
    be told.
    """

    devices: int
    windows: int
    mean: float | None
    error: float | None


@dataclass(frozen=True, slots=True)
class StageView:
    """What a stage of a rollout shows so far.

    stage: from 1; who: in words. The stage passes when mean and `errors` times the standard error are within the
    margin, of at least so many windows and devices; outcome: what labels say.
    """

    stage: int
    who: str
    devices: int
    device_states: dict[str, int]
    approve: bool
    windows_min: int
    devices_min: int
    margin: float
    errors: float
    frozen: LossView
    served: LossView
    outcome: str


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
    return _view(store, _row(store, name))


def rollout_devices(store: Store, name: str) -> list[RolloutDeviceView]:
    """Each of its devices, by name. In a transaction."""
    return [rollout_device(row) for row in store.rows(ROLLOUT_DEVICES).all(name)]


def rollout_stages(store: Store, name: str) -> list[StageView]:
    """Every stage of its plan, by which the service decides. In a transaction. Raises UnknownNameError."""
    row = _row(store, name)
    plan = stored_plan(row.plan)
    return [
        StageView(
            found.number, who_is_in(plan, found.number - 1), found.devices, found.states, found.stage.approve,
            found.criteria.windows_min, found.criteria.devices_min, found.criteria.margin, found.criteria.errors,
            _loss(found.frozen), _loss(found.served), str(found.outcome),
        )
        for found in stage_evidence(store, row, store.rows(ROLLOUT_DEVICES).all(name))
    ]  # fmt: skip


def who_is_in(plan: Plan, stage: int) -> str:
    """Of whom a stage is made, in words."""
    found = plan.stages[stage]
    if found.group:
        return f"group {found.group}"
    if found.devices:
        named = ", ".join(found.devices[:3])
        return named if len(found.devices) <= 3 else f"{named} and {len(found.devices) - 3} more"
    return "everybody" if found.share == 1.0 else f"{100 * found.share:g} % of the fleet"


def _loss(found: Comparison) -> LossView:
    known = found.windows > 0
    error = found.error if math.isfinite(found.error) else None
    return LossView(found.devices, found.windows, found.mean if known else None, error)


def rollout_device(row: RolloutDeviceRow) -> RolloutDeviceView:
    """As people see it."""
    return RolloutDeviceView(row.device, row.stage + 1, row.state, row.problem)


def _row(store: Store, name: str) -> RolloutRow:
    row = store.rows(ROLLOUTS).get(name)
    if row is None:
        raise UnknownNameError(f"no rollout {name!r}; `edge-fleet rollout list` shows them")
    return row


def _view(store: Store, row: RolloutRow) -> RolloutView:
    states = {str(state): count for state, count in store.rows(ROLLOUT_DEVICES).tally("state", row.name).items()}
    return RolloutView(
        row.name, row.bundle, row.version, row.release, row.state, row.stage + 1, len(stored_plan(row.plan).stages),
        row.phase, row.why, row.created_s, row.state_since_s, dict(sorted(states.items()))
    )  # fmt: skip
