"""Decisions as a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.commands.explain import decisions_text, read_decisions
from edge_agent.commands.status import read_status
from edge_agent.config import read_config
from edge_agent.labels.events import RECORDS_MAX
from edge_agent.learner.drift.errors import Drift
from edge_agent.startup.restored_agent import open_agent
from edge_agent.store.store import SQLiteStore
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "d"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "."\n')
    return path


def test_the_latest_decisions_survive_a_restart_and_are_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_config(config)
    store = SQLiteStore(settings.state_dir / "agent.sqlite")
    agent = open_agent(settings, variant(), store)
    store.commit(agent.changes())
    assert main(["explain", str(config)]) == 0
    assert capsys.readouterr().out.startswith("no decisions yet")
    x, y = windows(200, drift=1.0, seed=3)
    agent.process(pipeline().features(x), y)
    unlabelled, _ = windows(20, seed=4)
    agent.process(pipeline().features(unlabelled), None, [f"w{row}" for row in range(20)])
    x, y = windows(80, seed=5)
    agent.process(pipeline().features(x), (y + 2) % 3)
    agent.event_log.record(1_700_000_000.0)
    store.commit(agent.changes())
    again = open_agent(settings, variant(), store)
    assert again.event_log.records == agent.event_log.records
    store.close()
    assert main(["explain", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["when", "(device's", "clock)", "labels", "what", "evidence"]
    first = next(line for line in lines if "frozen -> exact" in line)
    assert first.startswith("2023-11-14 22:13:20")
    assert re.search(r"leave-one-out: exact \d\.\d+, frozen \d\.\d+ loss per label$", first)
    assert any("drift of the error" in line and "since label" in line for line in lines)
    assert any("labels wanted" in line and "and 12 more" in line for line in lines)
    assert main(["explain", str(config), "--json"]) == 0
    assert '"scores"' in capsys.readouterr().out


def test_doubted_labels_are_shown_until_they_are_corrected(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_config(config)
    store = SQLiteStore(settings.state_dir / "agent.sqlite")
    agent = open_agent(settings, variant(), store)
    x, right = windows(30, seed=3)
    given = right.copy()
    given[20] = (right[20] + 1) % 3
    agent.process(pipeline().features(x), given, [f"w{row}" for row in range(30)])
    agent.event_log.record(1_700_000_000.0)
    store.commit(agent.changes())
    doubt = f"w20: {CLASSES[given[20]]}, or rather {CLASSES[right[20]]}?"
    assert main(["explain", str(config)]) == 0
    assert re.search(rf"labels doubted +{re.escape(doubt)}$", capsys.readouterr().out, re.MULTILINE)
    assert shown(config) == [doubt]
    agent.label(["w20"], right[20:21])
    store.commit(agent.changes())
    store.close()
    assert shown(config) == []


def shown(config: Path) -> object:
    settings = read_config(config)
    variant().write(settings.bundle)
    return read_status(settings)["doubted_labels"]


def test_only_the_newest_are_kept(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_config(config)
    store = SQLiteStore(settings.state_dir / "agent.sqlite")
    agent = open_agent(settings, variant(), store)
    for seed in range(2 * RECORDS_MAX):
        drift = Drift(seed, seed, 0.1, 0.4)
        monkeypatch.setattr(agent.learner, "take_drifts", lambda drift=drift: [drift])
        agent.event_log.record(float(seed))
    store.commit(agent.changes())
    store.close()
    records = read_decisions(settings)
    assert len(records) == RECORDS_MAX
    assert len(decisions_text(records).splitlines()) == RECORDS_MAX + 1
    assert [record["wall_s"] for record in records] == [float(seed) for seed in range(RECORDS_MAX, 2 * RECORDS_MAX)]


def test_never_ran_here(config: Path) -> None:
    assert main(["explain", str(config)]) == 7
