"""`edge-fleet alerts`, `acknowledge`, `alert-rules` and `silence`: what operators type and see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregator.alerts import Alerts
from aggregator.clearings import Clearings
from aggregator.cli import main
from aggregator.effects import Instant
from aggregator.policy import AlertPolicy
from aggregator.store import RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import ALERT_CHANNELS, AlertChannelRow
from aggregator.store.sql import SqlStore
from headway.ports import SystemClock

HOSTILE = "\x1b[2Jgone\u202e\nforged"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    now_s = SystemClock().wall_s()
    with store.transaction():
        store.registry.put([RegistryRow("pump-1", now_s, now_s, health="degraded", problem=HOSTILE)])
    store.close()
    return tmp_path


def fleet(state_dir: Path, *words: str) -> int:
    at = 2 if words[0] in ("alert-rules", "silence") else 1
    return main([*words[:at], "--state-dir", str(state_dir), *words[at:]])


def tick(state_dir: Path) -> None:
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        Alerts("plant", store, AlertPolicy(), Clearings("plant", store)).tick(Instant(0.0, SystemClock().wall_s()))
    store.close()


def test_an_alert_is_shown_acknowledged_and_over(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet(state_dir, "alerts") == 0
    assert capsys.readouterr().out == "there is no open alert\n"
    assert fleet(state_dir, "alert-rules", "set", "disk", "--for-s", "0") == 0
    tick(state_dir)
    capsys.readouterr()
    assert fleet(state_dir, "alerts") == 0
    shown = capsys.readouterr().out
    assert r"problem: \x1b[2Jgone\u202e\nforged" in shown
    assert len(shown.splitlines()) == 2
    assert fleet(state_dir, "alerts", "--json") == 0
    (alert,) = json.loads(capsys.readouterr().out)
    assert (alert["rule"], alert["subject"], alert["state"]) == ("disk", "pump-1", "open")
    assert fleet(state_dir, "acknowledge", "1", "--remark", "disk is ordered" + HOSTILE) == 0
    tick(state_dir)
    assert fleet(state_dir, "alert-rules", "set", "disk", "--off") == 0
    capsys.readouterr()
    assert fleet(state_dir, "alerts") == 0
    shown = capsys.readouterr().out
    assert "acknowledged" in shown
    assert r"disk is ordered\x1b[2J" in shown
    tick(state_dir)
    assert fleet(state_dir, "alerts") == 0
    assert "there is no open alert" in capsys.readouterr().out
    assert fleet(state_dir, "alerts", "--all") == 0
    assert "closed" in capsys.readouterr().out


def test_rules_are_made_changed_and_forgotten(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet(state_dir, "alert-rules", "set", "hot", "--devices", "temperature > 80", "--severity", "critical") == 0
    assert fleet(state_dir, "alert-rules", "set", "hot", "--for-s", "300") == 0
    assert fleet(state_dir, "alert-rules", "set", "certificate-expires", "--certificates-within", "60d") == 0
    capsys.readouterr()
    assert fleet(state_dir, "alert-rules", "list", "--json") == 0
    rules = {rule["name"]: rule for rule in json.loads(capsys.readouterr().out)}
    hot = rules["hot"]
    assert (hot["condition"], hot["severity"], hot["for_s"], hot["built_in"]) == (
        "temperature > 80", "critical", 300.0, False,
    )  # fmt: skip
    assert rules["certificate-expires"]["condition"] == "60d"
    assert fleet(state_dir, "alert-rules", "list") == 0
    assert "certificate-expires (changed)" in capsys.readouterr().out
    assert fleet(state_dir, "alert-rules", "remove", "hot") == 0
    assert fleet(state_dir, "alert-rules", "remove", "certificate-expires") == 0
    assert "as built in" in capsys.readouterr().out


def test_silences_are_listed_and_hold_back(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet(state_dir, "silence", "list") == 0
    assert fleet(state_dir, "silence", "add", "--device", "pump-1", "--for", "8h", "--remark", HOSTILE) == 0
    assert fleet(state_dir, "alert-rules", "set", "disk", "--for-s", "0") == 0
    tick(state_dir)
    capsys.readouterr()
    assert fleet(state_dir, "alerts") == 0
    assert "silenced" in capsys.readouterr().out
    assert fleet(state_dir, "silence", "list") == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 2
    assert r"\x1b[2Jgone" in shown
    assert fleet(state_dir, "silence", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["device"] == "pump-1"
    assert fleet(state_dir, "silence", "end", "1") == 0
    capsys.readouterr()
    assert fleet(state_dir, "silence", "list") == 0
    assert capsys.readouterr().out == "there is no silence\n"


def test_a_channel_that_fails_or_gave_up_is_shown(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        store.put_number("alert_events", 12)
        since_s = SystemClock().wall_s() - 3600.0
        store.rows(ALERT_CHANNELS).put(AlertChannelRow("webhook", 5, 7, 9, since_s, f"h: {HOSTILE}", 2))
    store.close()
    assert fleet(state_dir, "alerts", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    first, second = said.err.splitlines()
    assert first.startswith("webhook fails for 60 min, 9 attempts, 7 events wait: h: \\x1b[2J")
    assert second.startswith("webhook was never told of 2 events")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("alert-rules", "set", "new"), "is new: say what it looks at"),
        (("alert-rules", "set", "new", "--devices", "labels > 1", "--rollouts", "halted"), "looks at one thing"),
        (("alert-rules", "set", "new", "--devices", "lables > 1"), "no field lables"),
        (("alert-rules", "remove", "drfit"), "no rule 'drfit'; did you mean 'drift'?"),
        (("alert-rules", "remove", "drift"), "alert-rules set drift --off"),
        (("acknowledge", "7"), "no open alert 7"),
        (("silence", "add", "--for", "8h"), "say what to silence"),
        (("silence", "add", "--rule", "drift", "--for", "ever"), "'ever' is no duration"),
        (("silence", "add", "--rule", "drift", "--for", "60w"), "within a year"),
        (("silence", "add", "--filter", "lables > 1", "--for", "8h"), "no field lables"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    state_dir: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert fleet(state_dir, *words) != 0
    error = capsys.readouterr().err
    assert problem in error
    assert len(error.strip().splitlines()) == 1
