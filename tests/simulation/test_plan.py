"""Figures of a small fleet, against what can be counted by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.policy import Method
from headway.errors import ConfigError
from headway_simulation.plan import Demand, main, plan

SMALL = Demand(devices=3, hours=6.0, labels_per_hour=3.0, size=8, classes=3)


def test_what_a_quiet_fleet_costs() -> None:
    load = plan(SMALL)
    assert 25 <= load.labels <= 90
    sent = load.messages
    # with nothing lost, each label that comes alone costs one report; labels within one interval share it
    assert 0.8 * load.labels <= sent["statistics"] <= load.labels
    assert sent["statistics"] == sent["metrics"]
    assert sent["ack"] <= sent["statistics"]
    assert load.heads == sent["head"]
    assert load.outbox_rows_peak == 0
    assert load.converge_s is None


def test_a_partition_ends_with_one_report_of_each_device() -> None:
    load = plan(replace(SMALL, partition_hours=2.0))
    quiet = plan(SMALL)
    assert load.converge_s is not None
    # a device tries again after at most two minutes
    assert load.converge_s < 300
    assert load.labels == quiet.labels
    assert load.messages["statistics"] < quiet.messages["statistics"]


def test_gradient_updates_wait_in_the_outbox_during_a_partition() -> None:
    load = plan(replace(SMALL, labels_per_hour=60.0, method=Method.AVERAGE, partition_hours=2.0))
    assert load.outbox_rows_peak >= 5
    assert load.converge_s is not None


def test_the_same_seed_gives_the_same_figures() -> None:
    assert plan(SMALL) == plan(SMALL)
    assert plan(SMALL) != plan(replace(SMALL, seed=1))


def test_loss_costs_messages() -> None:
    assert sum(plan(replace(SMALL, loss=0.1)).messages.values()) > sum(plan(SMALL).messages.values())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--devices", "0"], "--devices 0 is outside 1 to 100000"),
        (["--loss", "0.9"], "--loss 0.9 is outside 0 to 0.5"),
        (["--hours", "nan"], "--hours nan is outside 0.1 to 8784"),
        (["--devices", "1e12"], "--devices: invalid int value: '1e12'; see edge-fleet simulate --help"),
        (["--hours", "two"], "--hours: invalid float value: 'two'; see edge-fleet simulate --help"),
        (["--method", "magic"], "--method: invalid choice: 'magic' (choose from "),
        (["--wish"], "unrecognized arguments: --wish; see edge-fleet simulate --help"),
        (["--partition-hours", "20"], "--partition-hours 20 is outside 0 to 11.99"),
    ],
)
def test_impossible_demands_are_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        main(arguments)


def test_it_is_a_command_of_edge_fleet() -> None:
    command = [str(Path(sys.executable).parent / "edge-fleet"), "simulate", "--devices", "2", "--hours", "1", "--json"]
    done = subprocess.run([*command, "--size", "8"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["demand"]["devices"] == 2
    assert found["load"]["messages"]["status"] >= 2
    wrong = subprocess.run([*command, "--hours", "0"], capture_output=True, text=True, timeout=60)
    assert (wrong.returncode, wrong.stderr) == (2, "error: --hours 0 is outside 0.1 to 8784\n")
