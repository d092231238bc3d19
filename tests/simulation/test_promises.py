"""The fleet keeps its promises over many seeds, and a seed always tells the same story."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway_simulation.runner import Failure, report, run_seed, run_seeds
from headway_simulation.world import Outcome
from tests.simulation.bugs import BUGS

# make simulate runs 300 of the same seeds at every push, and 1,000 at night
SEEDS = 12
SEEDS_IN_PARTS = 6
DEVICES, HOURS = 3, 3.0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of lost connections are no news here."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_every_promise_holds_on_every_seed() -> None:
    results = run_seeds(range(SEEDS), DEVICES, HOURS, processes=os.cpu_count() or 1)
    failures = [report(r, DEVICES, HOURS, "tests.simulation") for r in results if isinstance(r, Failure)]
    assert not failures, "\n\n".join(failures)
    done = [result for result in results if isinstance(result, Outcome)]
    # the runs did something
    assert sum(outcome.samples for outcome in done) > 10 * SEEDS
    assert sum(outcome.heads for outcome in done) > 5 * SEEDS


def test_every_promise_holds_where_reports_travel_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    # so short that the tables of six codes need several parts
    monkeypatch.setattr("edge_agent.sync.uplink.MESSAGE_BYTES_MAX", 300)
    monkeypatch.setattr("headway.wire.statistics_report.PART_BYTES", 150)
    found = [run_seed(seed) for seed in range(SEEDS_IN_PARTS)]
    failures = [report(r, DEVICES, HOURS, "tests.simulation") for r in found if isinstance(r, Failure)]
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("seed", [3, 11])
def test_a_seed_tells_the_same_story_in_another_process(seed: int) -> None:
    here = run_seed(seed)
    assert isinstance(here, Outcome)
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"seed {seed}: trace {here.digest}" in done.stdout


def test_two_seeds_tell_different_stories() -> None:
    first, second = run_seed(3), run_seed(4)
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert first.digest != second.digest


def test_a_failure_names_its_seed_its_event_and_the_command_that_repeats_it() -> None:
    first = run_seed(0, build=BUGS["counter not persisted"])
    again = run_seed(0, build=BUGS["counter not persisted"])
    assert isinstance(first, Failure)
    assert first == again
    text = report(first, DEVICES, HOURS, "tests.simulation")
    assert text.startswith(f"seed 0 fails at event {first.event}: ")
    assert text.endswith("repeat: python -m tests.simulation --seed 0 --devices 3 --hours 3")
    assert any("boots" in line for line in first.lines)
