"""Implements `edge-fleet rollout`: begin one, follow it, and act on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aggregator.audit import local_user, record
from aggregator.commands.deliver import shelve
from aggregator.commands.place import Place
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.rollouts import Act, StageForecast, ask, begin, default_plan, forecast, read_plan, stored_plan
from aggregator.store import Store
from aggregator.store.rows import ROLLOUT_DEVICES, ROLLOUTS, RolloutRow
from headway.errors import ConfigError
from headway.fields import JsonValue
from headway.ports import Clock
from headway.printable import printable

HEADER, NUMBERS = ("ROLLOUT", "RELEASE", "STATE", "STAGE", "DEVICES", "FOR"), frozenset({"RELEASE", "FOR"})
STAGE_HEADER = ("STAGE", "DEVICES", "CAN TRY IT", "WITH LABELS", "LABELS/H", "ENOUGH AFTER", "WHO")
WHO_SHOWN = 5


def start_rollout(
    name: str, bundle: Path, plan_file: Path | None, public_key: Path | None, dry_run: bool, place: Place, clock: Clock
) -> None:
    """Write a rollout that the running service takes up; or, dry, say what each stage would be."""
    plan = default_plan() if plan_file is None else read_plan(plan_file)
    store = place.store()
    if dry_run:
        with store.transaction():
            stages = forecast(store, name, plan, clock.wall_s())
        rows = [_stage(number, stage) for number, stage in enumerate(stages, 1)]
        print_table(STAGE_HEADER, rows, aligned([STAGE_HEADER, *rows]), frozenset())
        return
    row = shelve(bundle, place.folder(), public_key, clock)
    with store.transaction():
        begin(store, name, plan, row, clock.wall_s())
        bundle_of: dict[str, JsonValue] = {"sha256": row.sha256, "release": row.release, "plan": plan.encode()}
        record(store, local_user(), "rollout-start", name, clock.wall_s(), **bundle_of)
    print(
        f"rollout {name} of {row.name} {row.version}, release {row.release}, begins; `edge-fleet rollout list` shows it"
    )


def list_rollouts(store: Store, clock: Clock, as_json: bool) -> None:
    """All of them, the newest first."""
    with store.transaction():
        found = sorted(store.rows(ROLLOUTS).all(), key=lambda row: -row.number)
        states = {row.name: Counter(d.state for d in store.rows(ROLLOUT_DEVICES).all(row.name)) for row in found}
    if as_json:
        print_json_rows([_as_json(row, states[row.name]) for row in found])
    elif found:
        rows = [_line(row, states[row.name], clock) for row in found]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
    else:
        print("there is no rollout")


def show_rollout(name: str, store: Store, as_json: bool) -> None:
    """One of them, and each of its devices."""
    with store.transaction():
        row = store.rows(ROLLOUTS).get(name)
        devices = store.rows(ROLLOUT_DEVICES).all(name)
    if row is None:
        raise ConfigError(f"no rollout {name!r}; `edge-fleet rollout list` shows them")
    if as_json:
        told: list[JsonValue] = [
            {"device": one.device, "stage": one.stage + 1, "state": one.state, "problem": one.problem}
            for one in devices
        ]
        print_json_rows([{**_as_json(row, Counter(one.state for one in devices)), "devices": told}])
        return
    print(printable(f"{row.name}: {row.bundle} {row.version}, release {row.release}: {row.state}, {_where(row)}"))
    print(printable(row.why))
    header = ("DEVICE", "STAGE", "STATE", "PROBLEM")
    rows = [(one.device, str(one.stage + 1), one.state, one.problem) for one in devices]
    print_table(header, rows, aligned([header, *rows]), frozenset({"STAGE"}))


def act_on_rollout(name: str, act: Act, remark: str, store: Store, clock: Clock) -> None:
    """Ask the running service; it does so within its housekeeping interval."""
    with store.transaction():
        ask(store, name, act, local_user(), remark, clock.wall_s())
        record(store, local_user(), f"rollout-{act}", name, clock.wall_s(), remark=remark)
    print(f"asked to {act} rollout {name}")


def _line(row: RolloutRow, states: Counter[str], clock: Clock) -> tuple[str, ...]:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    hours = max(clock.wall_s() - row.state_since_s, 0.0) / 3600
    return row.name, str(row.release), row.state, _where(row), counts or "-", f"{hours:.1f} h"


def _where(row: RolloutRow) -> str:
    return f"{row.stage + 1} of {len(stored_plan(row.plan).stages)}, {row.phase}"


def _as_json(row: RolloutRow, states: Counter[str]) -> dict[str, JsonValue]:
    counts: dict[str, JsonValue] = dict(sorted(states.items()))
    return {
        "rollout": row.name, "bundle": row.bundle, "version": row.version, "release": row.release, "state": row.state,
        "stage": row.stage + 1, "stages": len(stored_plan(row.plan).stages), "phase": row.phase, "why": row.why,
        "created_s": row.created_s, "state_since_s": row.state_since_s, "device_states": counts,
    }  # fmt: skip


def _stage(number: int, stage: StageForecast) -> tuple[str, ...]:
    names = ", ".join(stage.devices[:WHO_SHOWN]) + (" ..." if len(stage.devices) > WHO_SHOWN else "")
    after = "never" if stage.hours is None else f"{stage.hours:.1f} h"
    counts = (str(len(stage.devices)), str(stage.tries), str(stage.labelled), f"{stage.labels_per_hour:.1f}")
    return str(number), *counts, after, names or "-"
