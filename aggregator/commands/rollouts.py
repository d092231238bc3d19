"""Implements `edge-fleet rollout`: begin one, follow it, and act on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from aggregator.commands.done import say, wants_json
from aggregator.commands.moments import age
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import RolloutView, described
from aggregator.reach import Fleet
from aggregator.rollouts import Act, StageForecast, default_plan, read_plan
from headway.fields import JsonValue
from headway.ports import Clock
from headway.printable import printable

if TYPE_CHECKING:
    from headway_client import models

HEADER, NUMBERS = ("ROLLOUT", "RELEASE", "STATE", "STAGE", "DEVICES", "FOR"), frozenset({"RELEASE", "FOR"})
STAGE_HEADER = ("STAGE", "DEVICES", "CAN TRY IT", "WITH LABELS", "LABELS/H", "ENOUGH AFTER", "WHO")
SHOWN_HEADER = ("STAGE", "WHO", "DEVICES", "STATES", "FROZEN HEADS", "SERVED", "MAY BE", "NEEDS", "LABELS SAY")
WHO_SHOWN = 5


def start_rollout(
    name: str, bundle: Path, plan_file: Path | None, public_key: Path | None, dry_run: bool, fleet: Fleet
) -> None:
    """Write a rollout that the running service takes up; or, dry, say what each stage would be.

    Raises ConfigError, BundleError for what would be refused when it begins; dry, too.
    """
    plan = default_plan() if plan_file is None else read_plan(plan_file)
    if dry_run:
        stages = fleet.forecast(name, plan, described(bundle, public_key, 0.0).release)
        if wants_json():
            print_json_rows([{"stage": number, **asdict(stage)} for number, stage in enumerate(stages, 1)])
            return
        rows = [_stage(number, stage) for number, stage in enumerate(stages, 1)]
        print_table(STAGE_HEADER, rows, aligned([STAGE_HEADER, *rows]), frozenset())
        return
    row = fleet.keep_bundle(bundle, public_key)
    fleet.begin_rollout(name, plan, row)
    what = f"{row.name} {row.version}, release {row.release}"
    say(
        f"rollout {name} of {what}, begins; `edge-fleet rollout list` shows it",
        rollout=name, bundle=row.name, version=row.version, release=row.release, sha256=row.sha256,
    )  # fmt: skip


def show_rollouts(fleet: Fleet, clock: Clock, as_json: bool) -> None:
    """All of them, the newest first."""
    found = fleet.rollouts()
    if as_json:
        print_json_rows([asdict(view) for view in found])
    elif found:
        rows = [_line(view, clock) for view in found]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
    else:
        print("there is no rollout")


def show_rollout(name: str, fleet: Fleet, as_json: bool) -> None:
    """One of them, what each stage shows, and each of its devices."""
    view, devices = fleet.rollout(name)
    stages = fleet.figures.stages(name)
    if as_json:
        told: list[JsonValue] = list(stages)  # type: ignore[arg-type]
        print_json_rows([{**asdict(view), "stages": told, "devices": [asdict(one) for one in devices]}])
        return
    print(printable(f"{name}: {view.bundle} {view.version}, release {view.release}: {view.state}, {_where(view)}"))
    print(printable(view.why))
    shown = [_shown(stage) for stage in stages]
    print()
    print_table(SHOWN_HEADER, shown, aligned([SHOWN_HEADER, *shown]), frozenset({"STAGE", "DEVICES"}))
    print()
    header = ("DEVICE", "STAGE", "STATE", "PROBLEM")
    rows = [(one.device, str(one.stage), one.state, one.problem) for one in devices]
    print_table(header, rows, aligned([header, *rows]), frozenset({"STAGE"}))


def steer_rollout(name: str, act: Act, remark: str, fleet: Fleet) -> None:
    """Ask the running service; it does so within its housekeeping interval."""
    fleet.act_on_rollout(name, act, remark)
    say(f"asked to {act} rollout {name}", rollout=name, asked=str(act))


def _shown(stage: models.StageView) -> tuple[str, ...]:
    states = ", ".join(f"{count} {state}" for state, count in stage["device_states"].items())
    return (
        str(stage["stage"]), stage["who"], str(stage["devices"]), states or "-", _loss(stage["frozen"], stage),
        _loss(stage["served"], stage), f"{stage['margin']:g}",
        f"{stage['windows_min']} of {stage['devices_min']} devices", stage["outcome"] if stage["devices"] else "-",
    )  # fmt: skip


def _loss(told: models.LossView, stage: models.StageView) -> str:
    """With the interval that the plan asks for."""
    if told["mean"] is None:
        return "-"
    slack = "?" if told["error"] is None else f"{stage['errors'] * told['error']:.4f}"
    return f"{told['mean']:+.4f} +- {slack} of {told['windows']}"


def _line(view: RolloutView, clock: Clock) -> tuple[str, ...]:
    counts = ", ".join(f"{count} {state}" for state, count in view.device_states.items())
    lasts = age(clock.wall_s() - view.state_since_s).removesuffix(" ago")
    return view.rollout, str(view.release), view.state, _where(view), counts or "-", lasts


def _where(view: RolloutView) -> str:
    return f"{view.stage} of {view.stages}, {view.phase}"


def _stage(number: int, stage: StageForecast) -> tuple[str, ...]:
    names = ", ".join(stage.devices[:WHO_SHOWN]) + (" ..." if len(stage.devices) > WHO_SHOWN else "")
    after = "never" if stage.hours is None else f"{stage.hours:.1f} h"
    counts = (str(len(stage.devices)), str(stage.tries), str(stage.labelled), f"{stage.labels_per_hour:.1f}")
    return str(number), *counts, after, names or "-"
