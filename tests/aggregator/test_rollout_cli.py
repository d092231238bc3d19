"""`edge-fleet rollout`: what operators type and see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.effects import Instant
from aggregator.rollouts import Rollouts
from aggregator.store import DeviceRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import ROLLOUTS
from aggregator.store.sql import SqlStore
from headway.ports import SystemClock
from headway.wire import Reported
from tests.headway.bundles import small_variant

DEVICES = [f"pump-{number}" for number in range(40)]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    reported = Reported("b", "1", "1" * 64, "exact", "r", "0", "m", 60, "frozen", "", 1).encode()
    with store.transaction():
        for name in DEVICES:
            store.put_device(DeviceRow(name, 1.7e9, 1.7e9, reported=reported))
    store.close()
    (tmp_path / "two.hwb").write_bytes(small_variant().encode())
    return tmp_path


def fleet(state_dir: Path, *words: str) -> int:
    command, *rest = words
    return main(["rollout", command, "--state-dir", str(state_dir), *rest])


def tick(state_dir: Path) -> None:
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        Rollouts(store, lambda device, now: None, 100).tick(Instant(0.0, SystemClock().wall_s()))
    store.close()


def test_a_rollout_is_begun_shown_and_acted_on(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet(state_dir, "list") == 0
    assert capsys.readouterr().out == "there is no rollout\n"
    assert fleet(state_dir, "start", "spring", str(state_dir / "two.hwb")) == 0
    assert "rollout spring of" in capsys.readouterr().out
    tick(state_dir)
    assert fleet(state_dir, "list", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["rollout"], row["state"], row["stage"], row["stages"]) == ("spring", "running", 1, 3)
    # none of them has said that it can try a bundle
    assert row["device_states"] == {"untried": 3}
    assert fleet(state_dir, "approve", "spring", "--remark", "seen on the bench") == 0
    tick(state_dir)
    assert fleet(state_dir, "show", "spring") == 0
    shown = capsys.readouterr().out
    assert "seen on the bench" in shown
    assert "50 of 3 devices  undecided" in shown
    assert shown.count(" sent\n") == 3
    assert fleet(state_dir, "halt", "spring") == 0
    tick(state_dir)
    capsys.readouterr()
    assert fleet(state_dir, "list") == 0
    assert "halted" in capsys.readouterr().out
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        assert [row.sha256 for row in store.deliveries()] == ["", "", ""]
        kept = store.rows(ROLLOUTS).get("spring")
    store.close()
    assert kept is not None
    assert kept.why.startswith("halt by local:")


def test_a_stage_that_is_approved_before_anybody_looked_still_has_its_devices(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet(state_dir, "start", "spring", str(state_dir / "two.hwb")) == 0
    assert fleet(state_dir, "approve", "spring") == 0
    tick(state_dir)
    capsys.readouterr()
    assert fleet(state_dir, "show", "spring") == 0
    assert capsys.readouterr().out.count(" sent\n") == 3


def test_a_dry_run_says_who_and_when_and_writes_nothing(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet(state_dir, "start", "spring", str(state_dir / "two.hwb"), "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["1", "3"], ["2", "7"], ["3", "30"]]
    assert "never" in lines[1]
    assert fleet(state_dir, "start", "spring", str(state_dir / "two.hwb"), "--dry-run", "--json") == 0
    stages = json.loads(capsys.readouterr().out)
    assert [(stage["stage"], len(stage["devices"]), stage["hours"]) for stage in stages] == [
        (1, 3, None), (2, 7, None), (3, 30, None)
    ]  # fmt: skip
    assert fleet(state_dir, "list") == 0
    assert "there is no rollout" in capsys.readouterr().out
    assert not (state_dir / "bundles").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("halt", "nothing"), "no rollout 'nothing'; known: there is none"),
        (("show", "nothing"), "no rollout 'nothing'"),
        (("start", "two words", "two.hwb"), "not a valid name"),
        (("start", "spring", "two.hwb", "--plan", "plan.toml"), "no device 'nobody'"),
        (("start", "spring", "two.hwb", "--plan", "plan.toml", "--dry-run"), "no device 'nobody'"),
        (("start", "spring", "three.hwb", "--dry-run"), "cannot read bundle three.hwb"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    state_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(state_dir)
    (state_dir / "plan.toml").write_text("[[stages]]\ndevices = ['nobody']\n")
    assert fleet(state_dir, *words) != 0
    error = capsys.readouterr().err
    assert problem in error
    assert len(error.strip().splitlines()) == 1
