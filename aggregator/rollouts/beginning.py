"""Begins a rollout, asks for acts on it, and says beforehand what it would do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aggregator.registry import resolved
from aggregator.rollouts.members import members
from aggregator.rollouts.plan import Plan
from aggregator.rollouts.progress import reported_of
from aggregator.rollouts.states import OPEN, TAKES, Act, Phase, State
from aggregator.store import DeliveryRow, DeviceRow, Store
from aggregator.store.rows import ROLLOUT_ACTS, ROLLOUTS, TRIALS, RolloutActRow, RolloutRow
from headway.errors import ConfigError, ConflictError, UnknownNameError
from headway.wire import checked_name

ACTS = "rollout_acts_serial"
NUMBERS = "rollouts_serial"
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class StageForecast:
    """What a stage would do. devices: who is in it; labelled: of them, those that had labels; tries: those that can try
    a bundle beside what runs; labels_per_hour: of these together, so far on average; hours: until enough windows are
    labelled, None where labels never come that often."""

    devices: tuple[str, ...]
    labelled: int
    tries: int
    labels_per_hour: float
    hours: float | None


def begin(store: Store, name: str, plan: Plan, bundle: DeliveryRow, wall_s: float) -> RolloutRow:
    """Write a rollout that the service then runs. bundle: what is rolled out; its device does not count.

    Raises ConfigError where the name is taken, another rollout is open, a named device or group is unknown, or every
    device runs that release or a newer one.
    """
    checked_name(name, "rollout")
    if store.rows(ROLLOUTS).get(name) is not None:
        raise ConflictError(f"there is a rollout {name!r} already; take another name")
    running = next((row for state in OPEN for row in store.rows(ROLLOUTS).where(state=str(state))), None)
    if running is not None:
        raise ConflictError(f"rollout {running.name!r} is {running.state}; let it end or halt it first")
    _refuse_unknown(store, plan)
    _refuse_old_news(store.devices(), bundle.release)
    number = store.number(NUMBERS) + 1
    store.put_number(NUMBERS, number)
    row = RolloutRow(
        name, number, plan.encode(), bundle.sha256, bundle.size, bundle.name, bundle.version, bundle.release,
        bundle.space, State.RUNNING, 0, Phase.TRIAL, "begun", wall_s, wall_s, wall_s
    )  # fmt: skip
    store.rows(ROLLOUTS).put(row)
    return row


def ask(store: Store, name: str, act: Act, who: str, remark: str, wall_s: float) -> None:
    """Write down what an operator wants. Raises ConfigError where the rollout does not take that now."""
    rollout = store.rows(ROLLOUTS).get(name)
    if rollout is None:
        known = ", ".join(row.name for row in store.rows(ROLLOUTS).all(count_max=5)) or "there is none"
        raise UnknownNameError(f"no rollout {name!r}; known: {known}")
    takes = TAKES[State(rollout.state)]
    if act not in takes:
        possible = ", ".join(takes) or "nothing any more"
        raise ConflictError(f"rollout {name!r} is {rollout.state} and takes no {act}; it takes {possible}")
    number = store.number(ACTS) + 1
    store.put_number(ACTS, number)
    store.rows(ROLLOUT_ACTS).put(RolloutActRow(number, name, str(act), who, remark, wall_s))


def forecast(store: Store, name: str, plan: Plan, wall_s: float, release: int | None = None) -> list[StageForecast]:
    """Which devices each stage would have, and how long until their labels decide, by the labels so far.

    release: of the bundle; devices that run it or a newer one try nothing. Raises ConfigError where all do, or a named
    device or group is unknown.
    """
    _refuse_unknown(store, plan)
    known = {row.device: row for row in store.devices()}
    tries = {row.device for row in store.rows(TRIALS).all()}
    if release is not None:
        _refuse_old_news(known.values(), release)
        tries -= {row.device for row in known.values() if _release(row) >= release}
    number = store.number(NUMBERS) + 1
    labels_per_hour = {}
    for device, row in known.items():
        hours = max((wall_s - row.first_seen_s) / HOUR_S, 1.0)
        reported = reported_of(row)
        labels_per_hour[device] = 0.0 if reported is None else reported.labels / hours
    found, before = [], set[str]()
    for stage in plan.stages:
        devices = [d for d in members(store, stage, known, f"{name}/{number}", wall_s) if d not in before]
        before |= set(devices)
        found.append(_forecast(devices, tries, labels_per_hour, stage.windows_min))
    return found


def _forecast(
    devices: list[str], tries: set[str], labels_per_hour: dict[str, float], windows_min: int
) -> StageForecast:
    labelled = [device for device in devices if labels_per_hour[device] > 0]
    rate = sum(labels_per_hour[device] for device in _both(labelled, tries))
    hours = windows_min / rate if rate > 0 else None
    return StageForecast(tuple(devices), len(labelled), len(_both(devices, tries)), rate, hours)


def _refuse_unknown(store: Store, plan: Plan) -> None:
    for device in (device for stage in plan.stages for device in stage.devices):
        if store.device(device) is None:
            raise ConfigError(f"no device {device!r} in this fleet; `edge-fleet devices` lists them")
    for group in (stage.group for stage in plan.stages if stage.group):
        resolved(store, f'group == "{group}"')


def _refuse_old_news(devices: Iterable[DeviceRow], release: int) -> None:
    """Devices take a higher release than theirs, and no other: where none would, nobody should wait for them."""
    releases = [_release(row) for row in devices]
    if releases and min(releases) >= release:
        raise ConfigError(
            f"release {release} is no news: every device runs release {min(releases)} or a newer one; "
            f"convert the bundle with --release {max(releases) + 1}"
        )


def _release(row: DeviceRow) -> int:
    """That a device runs; -1 where it has not said so."""
    reported = reported_of(row)
    return -1 if reported is None else reported.release


def _both(devices: Iterable[str], others: set[str]) -> list[str]:
    return [device for device in devices if device in others]
