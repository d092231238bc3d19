"""A server is set back to a backup while its agents live on: what they learned is counted once, to the bit."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle import read_variant
from headway.maths import Statistics
from headway.wire import StatisticsReport
from testbed.broker import Broker
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_fleet import heads_of, solved_in_one_place

pytestmark = [pytest.mark.system, pytest.mark.broker]


def edge_fleet(*words: str | Path) -> str:
    command = [str(BIN / "edge-fleet"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def stored(state_dir: Path, space: str) -> dict[str, Statistics]:
    """The tables of each device in the store."""
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        found = {row.device: StatisticsReport.decode_stored(row.payload).statistics
                 for row in store.every_statistics(space)}  # fmt: skip
    store.close()
    return found


def test_agents_bring_back_what_a_backup_does_not_know(
    new_device: Callable[..., Device],
    aggregator: Callable[[Broker], subprocess.Popen[bytes]],
    fresh_broker: Broker,
    bundle: Path,
    tmp_path: Path,
) -> None:
    server = aggregator(fresh_broker)
    state_dir, backup = tmp_path / "aggregator", tmp_path / "fleet.backup"
    devices = [new_device(f"d{number}", fresh_broker) for number in range(3)]
    x, y = data(3 * 30, seed=8)
    for device in devices:
        device.start()

    def feed(step: int, who: list[int]) -> None:
        for number in who:
            first = number * 30 + step * 10
            devices[number].drop(f"s{step}", x=x[first : first + 10], y=y[first : first + 10])

    with heads_of(fresh_broker) as head:

        def counted() -> int:
            found = head()
            return 0 if found is None else found.samples

        feed(0, [0, 1, 2])
        wait_until(lambda: counted() == 30, "30 samples")
        edge_fleet("backup", backup, "--state-dir", state_dir)
        # one goes on and rests, one goes on until the end, one is away when the server comes back
        feed(1, [0, 1, 2])
        feed(2, [0])
        wait_until(lambda: counted() == 70, "70 samples")
        before = stored(state_dir, read_variant(bundle).space)
        assert devices[2].stop() == 0
        server.kill()
        server.wait()
        said = edge_fleet("restore", backup, "--state-dir", state_dir)
        assert "3 devices" in said
        assert sum(tables.samples for tables in stored(state_dir, read_variant(bundle).space).values()) == 30
        aggregator(fresh_broker)
        wait_until(lambda: stored(state_dir, read_variant(bundle).space) == before, "the same tables as before")
        feed(2, [1, 2])
        devices[2].start()
        wait_until(lambda: counted() == 90, "all 90 samples")
        found = head()
    assert found is not None
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(bundle, x, y)
    variant = read_variant(bundle)
    codes = Pipeline(variant, open_runtime(variant)).features(x).codes
    tables = stored(state_dir, variant.space)
    for number in range(3):
        rows = slice(number * 30, number * 30 + 30)
        assert tables[f"d{number}"] == Statistics.of(codes[rows], y[rows], CLASSES, variant.space)
    assert [device.stop() for device in devices] == [0, 0, 0]
