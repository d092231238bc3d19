"""docs/benchmarks.md says what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.average_rounds import EACH_AFTER_THE_OTHER
from scripts import benchmark_page
from scripts.run_benchmarks import COMMANDS, note_machine


def test_the_page_is_what_the_results_say() -> None:
    assert benchmark_page.PAGE.read_text() == benchmark_page.page()


def test_every_line_has_a_command_that_make_benchmarks_runs() -> None:
    assert {line.name for line in benchmark_page.LINES} == set(COMMANDS)


def test_what_was_not_measured_says_so_and_what_missed_its_goal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_page, "RESULTS", tmp_path)
    rows = [{"features": 65, "acked_per_s": 1500.0, "aggregator_ms": 0.6, "broker_ms": 0.1, "generator_ms": 0.2}]
    rows += [{**rows[0], "acked_per_s": 1490.0}, *({**rows[0], "features": 321} for _ in range(2))]
    (tmp_path / "ingest.json").write_text(json.dumps(rows))
    lines = [row for row in benchmark_page.page().splitlines() if row.endswith("`ingest` |")]
    assert ["**no**" in line for line in lines] == [True, False]
    assert all("1,500" in line for line in lines)
    assert sum("not measured" in row for row in benchmark_page.page().splitlines()) == len(benchmark_page.LINES) - 2


@pytest.mark.parametrize(("rates", "reached"), [((2100, 2200), True), ((410, 2200), False), ((2200, 1900), False)])
def test_every_round_of_reports_counts_that_of_new_devices_too(rates: tuple[float, ...], reached: bool) -> None:
    more = {"features": 65, "aggregator_ms": 0.6, "broker_ms": 0.1, "generator_ms": 0.2}
    assert benchmark_page.ingest(65, 2000)([{**more, "acked_per_s": rate} for rate in rates])[1] is reached


@pytest.mark.parametrize(("clearing_s", "reached"), [(0.001, True), (0.003, False)])
def test_a_round_is_faster_only_with_what_makes_it_durable(clearing_s: float, reached: bool) -> None:
    ours = {"processor_s": 0.004, "clearing_s": clearing_s, "grown_mb": 0.5}
    found = {"100": {"ours, fedavg": ours, "Flower, server tree": {"processor_s": 0.006, "grown_mb": 5.5}}}
    assert benchmark_page.averaging(100)(found)[1] is reached


@pytest.mark.parametrize(("all_of_it_s", "reached"), [(0.0055, True), (0.0065, False)])
def test_a_round_is_faster_only_with_what_rounds_one_after_the_other_put_off(all_of_it_s: float, reached: bool) -> None:
    found = {
        "100": {
            "ours, fedavg": {"processor_s": 0.003, "clearing_s": 0.001, "later_s": 0.006, "grown_mb": 0.5},
            **{name: {"processor_s": all_of_it_s, "later_s": 0.001, "grown_mb": 1.0} for name in EACH_AFTER_THE_OTHER},
            "Flower, server tree": {"processor_s": 0.006, "grown_mb": 5.5},
        }
    }
    words, is_reached = benchmark_page.averaging(100)(found)
    assert "(and at most 0.006 s put off)" in words
    assert "with 0.0010 s of what was put off" in words
    assert is_reached is reached


def test_the_strongest_peer_decides() -> None:
    behind, ahead = {"slow / ours": 153.9, "first ten of 13 / ours": 2.7}, {"slow / ours": 153.9}
    assert [benchmark_page.late(found)[1] for found in (behind, ahead)] == [False, True]


def test_each_result_keeps_the_machine_and_the_load_that_it_was_measured_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("benchmark_page", "run_benchmarks"):
        monkeypatch.setattr(f"scripts.{module}.RESULTS", tmp_path)
    for name in ("ingest", "restart", "update_bytes"):
        (tmp_path / f"{name}.json").write_text("[]")
    note_machine("ingest", "2 cores, load 0.1")
    note_machine("restart", "2 cores, load 7.0")
    note_machine("ingest", "2 cores, load 0.3")
    assert benchmark_page.machines() == [
        "- `ingest`: 2 cores, load 0.3",
        "- `restart`: 2 cores, load 7.0",
        "- `update_bytes`: not noted",
    ]
