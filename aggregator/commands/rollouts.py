"""Implements `edge-fleet rollout`: begin one, follow it, and act on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from aggregator.commands.place import Place
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import (
    Operator,
    RolloutView,
    act_on_rollout,
    begin_rollout,
    list_rollouts,
    rollout_devices,
    rollout_view,
    shelve,
)
from aggregator.rollouts import Act, StageForecast, default_plan, forecast, read_plan
from aggregator.store import Store
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
    row = shelve(bundle, place.folder(), public_key, clock.wall_s())
    with store.transaction():
        begin_rollout(Operator.local(store, clock), name, plan, row)
    print(
        f"rollout {name} of {row.name} {row.version}, release {row.release}, begins; `edge-fleet rollout list` shows it"
    )


def show_rollouts(store: Store, clock: Clock, as_json: bool) -> None:
    """All of them, the newest first."""
    with store.transaction():
        found = list_rollouts(store)
    if as_json:
        print_json_rows([asdict(view) for view in found])
    elif found:
        rows = [_line(view, clock) for view in found]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
    else:
        print("there is no rollout")


def show_rollout(name: str, store: Store, as_json: bool) -> None:
    """One of them, and each of its devices."""
    with store.transaction():
        view, devices = rollout_view(store, name), rollout_devices(store, name)
    if as_json:
        print_json_rows([{**asdict(view), "devices": [asdict(one) for one in devices]}])
        return
    print(printable(f"{name}: {view.bundle} {view.version}, release {view.release}: {view.state}, {_where(view)}"))
    print(printable(view.why))
    header = ("DEVICE", "STAGE", "STATE", "PROBLEM")
    rows = [(one.device, str(one.stage), one.state, one.problem) for one in devices]
    print_table(header, rows, aligned([header, *rows]), frozenset({"STAGE"}))


def steer_rollout(name: str, act: Act, remark: str, store: Store, clock: Clock) -> None:
    """Ask the running service; it does so within its housekeeping interval."""
    with store.transaction():
        act_on_rollout(Operator.local(store, clock), name, act, remark)
    print(f"asked to {act} rollout {name}")


def _line(view: RolloutView, clock: Clock) -> tuple[str, ...]:
    counts = ", ".join(f"{count} {state}" for state, count in view.device_states.items())
    hours = max(clock.wall_s() - view.state_since_s, 0.0) / 3600
    return view.rollout, str(view.release), view.state, _where(view), counts or "-", f"{hours:.1f} h"


def _where(view: RolloutView) -> str:
    return f"{view.stage} of {view.stages}, {view.phase}"


def _stage(number: int, stage: StageForecast) -> tuple[str, ...]:
    names = ", ".join(stage.devices[:WHO_SHOWN]) + (" ..." if len(stage.devices) > WHO_SHOWN else "")
    after = "never" if stage.hours is None else f"{stage.hours:.1f} h"
    counts = (str(len(stage.devices)), str(stage.tries), str(stage.labelled), f"{stage.labels_per_hour:.1f}")
    return str(number), *counts, after, names or "-"
