"""A disk that refuses from the very start: the agent comes up, predicts with what it had learned, and starts again."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.daemon import Daemon, write_condition
from edge_agent.delivery.slots import Slots
from edge_agent.startup import active_bundle as opening
from edge_agent.startup.active_bundle import open_bundle
from edge_agent.startup.restored_agent import open_agent
from edge_agent.store.standby import StandbyStore
from edge_agent.store.store import Changes, Condition, SQLiteStore, StoreFailure
from headway.errors import ConfigError
from headway.ports import SystemClock
from tests.edge_agent.variants import IdentityRuntime, pipeline, variant, windows

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_runtime", lambda variant, clock: IdentityRuntime())


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    variant().write(tmp_path / "model.hwb")
    sensor = SensorSettings(tmp_path / "spool", tmp_path / "predictions", poll_interval_s=0.05)
    return AgentConfig("pump", "plant", tmp_path / "model.hwb", tmp_path / "disk", sensor)


def teach(config: AgentConfig, count: int) -> None:
    """A run on a good disk that was cut off: its last commits are in SQLite's log alone."""
    config.state_dir.mkdir(exist_ok=True)
    store = SQLiteStore(config.state_dir / "agent.sqlite")
    agent = open_agent(config, variant(), store)
    x, y = windows(count, drift=0.8)
    agent.process(pipeline().features(x), y)
    store.commit(agent.changes())
    assert (config.state_dir / "agent.sqlite-wal").stat().st_size
    # a clean end would empty the log: the connection stays open as long as the test
    ABANDONED.append(store)


ABANDONED: list[SQLiteStore] = []


@pytest.fixture(autouse=True)
def abandoned() -> Iterator[None]:
    yield
    while ABANDONED:
        ABANDONED.pop().close()


@pytest.fixture
def read_only(config: AgentConfig) -> Iterator[AgentConfig]:
    """A state folder on a file system of its own that became read-only after fifty labels."""
    disk = config.state_dir
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    teach(config, 50)
    image = [(path.name, path.read_bytes()) for path in disk.iterdir()]
    while ABANDONED:
        ABANDONED.pop().close()
    for name, content in image:
        (disk / name).write_bytes(content)
    remount(config, "ro")
    yield config
    subprocess.run(["umount", "-l", str(disk)], check=True)


def remount(config: AgentConfig, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(config.state_dir)], check=True)


def drop(config: AgentConfig, name: str, count: int) -> None:
    x, y = windows(count, drift=0.8, seed=9)
    np.savez(config.sensor.spool_dir / f".{name}.npz", x=x, y=y)
    (config.sensor.spool_dir / f".{name}.npz").rename(config.sensor.spool_dir / f"{name}.npz")


def test_a_refused_start_reads_the_database_and_its_log_and_keeps_nothing(
    config: AgentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(config, 50)
    failure = StoreFailure(Condition.READ_ONLY, "no")
    store = StandbyStore(config.state_dir, failure)
    agent = open_agent(config, variant(), store)
    assert agent.learner.labels == 50
    store.refuse()
    opened = SQLiteStore.__init__

    def refuses(self: SQLiteStore, path: Path) -> None:
        raise failure

    monkeypatch.setattr(SQLiteStore, "__init__", refuses)
    with pytest.raises(StoreFailure, match="^no$"):
        store.commit(Changes({"x": b""}))
    assert not store.usable
    monkeypatch.setattr(SQLiteStore, "__init__", opened)
    with pytest.raises(StoreFailure, match="starts again"):
        store.commit(Changes({"x": b""}))
    assert store.usable
    assert {"x", "standby"}.isdisjoint(ABANDONED[0].load())


def test_what_cannot_be_read_leaves_the_bundles_own_predictions(
    config: AgentConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config.state_dir.mkdir()
    (config.state_dir / "agent.sqlite").write_bytes(b"no database" * 1000)
    store = StandbyStore(config.state_dir, StoreFailure(Condition.READ_ONLY, "no"))
    assert store.load() == {}
    assert "predictions are those of the bundle" in caplog.text


def test_a_full_disk_at_the_start_is_no_end(config: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(config, 50)

    def full(self: SQLiteStore, changes: Changes) -> None:
        raise StoreFailure(Condition.FULL, "database or disk is full")

    monkeypatch.setattr(SQLiteStore, "commit", full)
    opened = open_bundle(config, Slots(config.state_dir, config.bundle), SystemClock())
    assert isinstance(opened.store, StandbyStore)
    assert opened.agent.learner.labels == 50


def test_an_agent_on_a_read_only_disk_predicts_and_goes_on_when_it_can_be_written(
    read_only: AgentConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("edge_agent.store.retrying.RETRY_S", 0.1)
    config, daemon = read_only, Daemon(read_only, SystemClock())
    assert daemon._loop.condition.startswith("degraded: ")
    assert daemon._agent.learner.labels == 50
    drop(config, "later", 4)
    answer = config.sensor.predictions_dir / "later.npz"

    def mend() -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not answer.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        remount(config, "rw")

    mender = threading.Thread(target=mend)
    mender.start()
    assert daemon.run()  # ends by itself, to be started again
    mender.join()
    assert answer.exists()
    assert daemon._agent.learner.labels == 50
    again = Daemon(config, SystemClock())
    assert not again.run(once=True)
    assert again._agent.learner.labels == 54
    assert "the agent starts again" in caplog.text


def test_two_agents_on_a_read_only_disk_are_one_too_many(read_only: AgentConfig) -> None:
    daemon = Daemon(read_only, SystemClock())
    with pytest.raises(ConfigError, match="another agent"):
        Daemon(read_only, SystemClock())
    os.close(daemon._lock)


def test_a_condition_that_cannot_be_left_says_that_the_folder_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_condition(folder, "good")
    finally:
        os.close(folder)
    assert caplog.messages == ["cannot leave the condition for `edge-agent status`: the state folder cannot be written"]
