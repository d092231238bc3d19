"""docs/benchmarks.md says what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import benchmark_page
from scripts.run_benchmarks import COMMANDS


def test_the_page_is_what_the_results_say() -> None:
    assert benchmark_page.PAGE.read_text() == benchmark_page.page()


def test_every_line_has_a_command_that_make_benchmarks_runs() -> None:
    assert {line.name for line in benchmark_page.LINES} == set(COMMANDS)


def test_what_was_not_measured_says_so_and_what_missed_its_goal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_page, "RESULTS", tmp_path)
    rows = [{"features": 65, "acked_per_s": 1500.0, "aggregator_ms": 0.6, "broker_ms": 0.1, "generator_ms": 0.2}]
    rows.append({**rows[0], "features": 321})
    (tmp_path / "ingest.json").write_text(json.dumps(rows))
    lines = [row for row in benchmark_page.page().splitlines() if "`ingest`" in row]
    assert ["**no**" in line for line in lines] == [True, False]
    assert all("1,500" in line for line in lines)
    assert sum("not measured" in row for row in benchmark_page.page().splitlines()) == len(benchmark_page.LINES) - 1


def test_the_strongest_peer_decides() -> None:
    behind, ahead = {"slow / ours": 153.9, "first ten of 13 / ours": 2.7}, {"slow / ours": 153.9}
    assert [benchmark_page.late(found)[1] for found in (behind, ahead)] == [False, True]
