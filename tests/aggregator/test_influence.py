"""`edge-fleet influence`: what the head loses or gains without each device, as if that one had never been there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.cli import main
from aggregator.heads import FleetModel, influences
from aggregator.policy import OutlierPolicy, Policy, Weighing
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.bundle import TrainingRows
from headway.maths import Statistics, fleet_head, merge, predicted_class
from tests.aggregator.fleets import CLASSES, SPACE, Fleet, model, statistics_message
from tests.aggregator.test_outliers import told, windows
from tests.headway.bundles import small_variant

POLICY = Policy(publish_interval_s=0.0, outliers=OutlierPolicy(devices_min=0), weighing=Weighing(devices_min=0))
CODES, LABELS = windows(900, 1234)


def fleet_of(parts: dict[str, Statistics]) -> Fleet:
    fleet = Fleet(POLICY, build_model=lambda: replace(model(), training_statistics=told(30, 99)))
    for name, part in parts.items():
        fleet.send(statistics_message(name, 1, 1, part))
    return fleet


def accuracy(parts: list[Statistics]) -> float:
    head = fleet_head(told(30, 99), merge([Statistics.zeros(6, CLASSES, SPACE), *parts]))
    return float((predicted_class(head.logits(CODES.astype(np.float32))) == LABELS).mean())


def test_the_worst_is_first_and_each_figure_is_that_of_a_head_without_the_device() -> None:
    parts = {f"d{number}": told(30, number) for number in range(4)} | {"liar": told(60, 50, rotated=True)}
    fleet = fleet_of(parts)
    with fleet.store.transaction():
        found = influences(fleet.store, fleet.build_model(), POLICY, CODES.astype(np.float32), LABELS)
    assert found.devices[0].device == "liar"
    assert found.devices[0].gain < 0 > found.devices[0].loss
    assert found.whole.accuracy == accuracy([*parts.values()])
    for one in found.devices:
        rest = accuracy([part for name, part in parts.items() if name != one.device])
        assert one.gain == pytest.approx(found.whole.accuracy - rest, abs=1e-9)
        assert one.samples == parts[one.device].samples
        assert one.weight == 1.0


def test_who_is_set_aside_brings_nothing_and_is_not_named() -> None:
    fleet = fleet_of({f"d{number}": told(30, number) for number in range(6)} | {"liar": told(60, 50, rotated=True)})
    fleet.policy = replace(POLICY, outliers=OutlierPolicy(interval_s=0.0))
    fleet.restart()
    fleet.pass_time(5.0)
    fleet.pass_time(5.0)
    with fleet.store.transaction():
        found = influences(fleet.store, fleet.build_model(), POLICY, CODES.astype(np.float32), LABELS)
    assert "liar" not in {one.device for one in found.devices}


def test_a_store_without_a_bundle_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SqlStore(sqlite_url(tmp_path)).close()
    assert main(["influence", "--state-dir", str(tmp_path)]) == 2
    assert "no bundle was served" in capsys.readouterr().err


def test_the_command_takes_the_bundle_that_was_served_and_prints_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant = small_variant()

    def narrow(count: int, seed: int, rotated: bool = False) -> Statistics:
        codes, labels = windows(count, seed)
        labels = (labels + rotated) % 3
        return Statistics.of(np.ascontiguousarray(codes[:, :4]), labels, variant.classes, variant.space)

    codes, labels = windows(60, 8)
    sample = TrainingRows(np.ascontiguousarray(codes[:, :4]), labels=labels)
    variant = replace(variant, training_statistics=narrow(90, 99), buffer=sample)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "one.hwb").write_bytes(variant.encode())
    store = SqlStore(sqlite_url(tmp_path))
    fleet = Fleet(POLICY, store, lambda: FleetModel.of(variant))
    for name, part in {"good": narrow(30, 1), "liar": narrow(60, 2, rotated=True)}.items():
        fleet.send(statistics_message(name, 1, 1, part))
    store.close()
    assert main(["influence", "--state-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("the head of 2 devices is right about")
    assert [line.split()[0] for line in lines[1:]] == ["device", "liar", "good"]
    assert main(["influence", "--state-dir", str(tmp_path), "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert [row["device"] for row in read["devices"]] == ["liar", "good"]
    assert read["devices"][0]["loss_gain"] < 0
