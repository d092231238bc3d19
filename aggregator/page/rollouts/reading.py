"""What the places of rollouts show, each read in one picture of the store."""

from __future__ import annotations

import json
from dataclasses import dataclass

from aggregator.operations import (
    Operator,
    RolloutDeviceView,
    RolloutView,
    list_rollouts,
    rollout_device,
    rollout_view,
    who_is_in,
)
from aggregator.page.intervals import Interval
from aggregator.page.remembering import Remembered
from aggregator.rollouts import (
    NOBODY,
    TAKES,
    Act,
    Comparison,
    Criteria,
    Plan,
    StageEvidence,
    State,
    stage_evidence,
    stored_plan,
)
from aggregator.store.rows import ROLLOUT_ACTS, ROLLOUT_DEVICES, ROLLOUTS, RolloutDeviceRow, RolloutRow

EVENTS_READ_MAX, MOMENTS_MAX, DEVICES_MAX, TROUBLED_MAX = 200, 12, 200, 20
TONES = {
    State.RUNNING: "good", State.WAITS: "warn", State.PAUSED: "warn", State.HALTED: "bad", State.ROLLING_BACK: "bad",
    State.ROLLED_BACK: "quiet", State.DONE: "good",
}  # fmt: skip
# how devices of a stage are drawn, in this order; the others are quiet
PARTS = (
    ("there", "there", "good"), ("trying", "trying it", "trying"), ("ordered", "ordered", "ordered"),
    ("sent", "switching", "sent"), ("failed", "failed", "bad"), ("withdrawn", "perhaps switched", "warn"),
    ("returning", "going back", "warn"), ("newer", "has a newer one", "quiet"),
    ("rolled-back", "went back", "quiet"), ("untried", "cannot try it", "quiet"), ("waiting", "waiting", "quiet"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """So many devices of a stage in one state. share: of the stage, in %."""

    words: str
    tone: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class StageShown:
    """A stage. place: ``over``, ``now`` or ``later``."""

    evidence: StageEvidence
    place: str
    who: str
    parts: tuple[Part, ...]
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """What the service did, or was told."""

    at_s: float
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What every device of a rollout has to be read for. troubled: the first devices with a problem."""

    stages: tuple[StageEvidence, ...]
    troubled: tuple[RolloutDeviceRow, ...]
    more_troubled: int


@dataclass(frozen=True, slots=True)
class RolloutShown:
    """acts: that it takes now; pending: that were asked for and are not done yet."""

    view: RolloutView
    plan: Plan
    tone: str
    stages: tuple[StageShown, ...]
    acts: tuple[Act, ...]
    pending: tuple[str, ...]
    moments: tuple[Moment, ...]
    troubled: tuple[RolloutDeviceView, ...]
    more_troubled: int
    devices: tuple[RolloutDeviceView, ...]
    more_devices: int


def rollouts_shown(operator: Operator) -> list[tuple[RolloutView, str]]:
    """All of them, the newest first, and the tone of each."""
    return [(view, TONES[State(view.state)]) for view in list_rollouts(operator.store)]


def rollout_shown(operator: Operator, name: str, remembered: Remembered[Progress]) -> RolloutShown:
    """One of them. Raises UnknownNameError."""
    view = rollout_view(operator.store, name)
    row = operator.store.rows(ROLLOUTS).get(name)
    assert row is not None  # or there were no view
    plan, state = stored_plan(row.plan), State(row.state)
    # a rollout over 10,000 devices is read through for all that look at it together
    progress = remembered.get((row, *view.device_states.items()), lambda: _progress(operator, row))
    stages = tuple(_stage(evidence, row, plan) for evidence in progress.stages)
    devices = operator.store.rows(ROLLOUT_DEVICES).all(name, count_max=DEVICES_MAX)
    more_devices = sum(view.device_states.values()) - len(devices)
    asked = [act for act in operator.store.rows(ROLLOUT_ACTS).all() if act.rollout == name]
    pending = tuple(f"{act.act} by {act.who}{f': {act.remark}' if act.remark else ''}" for act in asked)
    return RolloutShown(
        view, plan, TONES[state], stages, TAKES[state], pending, _moments(operator, name),
        tuple(map(rollout_device, progress.troubled)), progress.more_troubled,
        tuple(map(rollout_device, devices)), more_devices,
    )  # fmt: skip


def _progress(operator: Operator, row: RolloutRow) -> Progress:
    devices = operator.store.rows(ROLLOUT_DEVICES).all(row.name)
    troubled = [one for one in devices if one.problem]
    return Progress(
        tuple(stage_evidence(operator.store, row, devices)), tuple(troubled[:TROUBLED_MAX]),
        max(0, len(troubled) - TROUBLED_MAX),
    )  # fmt: skip


def _stage(evidence: StageEvidence, row: RolloutRow, plan: Plan) -> StageShown:
    at, number = row.stage, evidence.number - 1
    over = number < at or row.state in (State.DONE, State.ROLLED_BACK)
    place = "over" if over else "now" if number == at else "later"
    intervals = tuple(
        _interval(name, found, evidence.criteria)
        for name, found in (("frozen heads", evidence.frozen), ("what is served", evidence.served))
    )
    return StageShown(evidence, place, who_is_in(plan, number), _parts(evidence), intervals)


def _interval(name: str, found: Comparison, criteria: Criteria) -> Interval:
    return Interval(name, found.mean, criteria.errors * found.error, criteria.margin, found.windows > 0)


def _parts(evidence: StageEvidence) -> tuple[Part, ...]:
    parts, x, total = [], 0.0, evidence.devices
    for state, words, tone in PARTS:
        count = evidence.states.get(state, 0)
        if count:
            width = 100.0 * count / total
            parts.append(Part(words, tone, count, round(x, 2), round(width, 2)))
            x += width
    return tuple(parts)


def _moments(operator: Operator, name: str) -> tuple[Moment, ...]:
    """What is still among the newest events of the fleet."""
    found = []
    for event in operator.store.events(EVENTS_READ_MAX, NOBODY):
        detail = json.loads(event.detail)
        if detail.get("rollout") == name:
            found.append(Moment(event.received_s, str(detail.get("state", "")), str(detail.get("why", ""))))
    return tuple(sorted(found, key=lambda moment: -moment.at_s)[:MOMENTS_MAX])
