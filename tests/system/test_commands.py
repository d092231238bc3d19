"""Commands between real programs: each takes effect once, whoever is killed in the middle, and none after its end."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aggregator.remote_commands import OPEN, ask, commands_of, supported_by
from aggregator.store.location import sqlite_url
from aggregator.store.rows import CommandRow
from aggregator.store.sql import SqlStore
from testbed.broker import Broker
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import status

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
StartAggregator = Callable[[Broker], "subprocess.Popen[bytes]"]
WINDOWS = 12


class Fleet:
    """What operators ask of one device, in the store of a running aggregator."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.store = SqlStore(sqlite_url(state_dir))

    def knows_commands(self) -> bool:
        with self.store.transaction():
            return supported_by(self.store, "pump") is not None

    def ask(self, name: str, seconds: float = 60.0, **arguments: str) -> CommandRow:
        with self.store.transaction():
            return ask(self.store, "pump", name, arguments, "local:test", time.time(), seconds)

    @property
    def rows(self) -> list[CommandRow]:
        with self.store.transaction():
            return commands_of(self.store, "pump")

    def open(self) -> list[str]:
        return [row.name for row in self.rows if row.state in OPEN]

    def state(self, row: CommandRow) -> str:
        return next(one.state for one in self.rows if one.id == row.id)


def test_commands_take_effect_once_whoever_is_killed(
    new_device: NewDevice, aggregator: StartAggregator, fresh_broker: Broker, tmp_path: Path
) -> None:
    server, state_dir = aggregator(fresh_broker), tmp_path / "aggregator"
    device = new_device("pump", fresh_broker)
    device.start()
    x, y = data(WINDOWS, seed=5)
    device.drop("a", x=x, id=np.array([f"w{number}" for number in range(WINDOWS)]))
    wait_until(lambda: device.answers() == {"a"}, "an answer")
    wait_until((state_dir / "aggregator.sqlite").exists, "the aggregator's store")
    fleet = Fleet(state_dir)
    wait_until(fleet.knows_commands, "that the device takes commands")

    words = ["pump", "label", "window=w0", f"class={CLASSES[y[0]]}", "--wait-s", "30", "--json"]
    command = [str(BIN / "edge-fleet"), "command", "--state-dir", str(state_dir), *words]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (told["state"], told["result"]) == ("done", {"label": "learned"})

    for number in range(1, WINDOWS):
        row = fleet.ask("label", window=f"w{number}", **{"class": CLASSES[y[number]]})
        if number % 4 == 0:
            server.kill()
            server.wait()
            server = aggregator(fresh_broker)
        if number % 3 == 0:
            wait_until(lambda row=row: fleet.state(row) != "asked", "the command on its way")  # type: ignore[misc]
        if number % 2:
            device.kill()
            device.start()
    wait_until(lambda: not fleet.open(), "every result")
    assert [row.state for row in fleet.rows] == ["done"] * WINDOWS
    assert status(device)["labels"] == WINDOWS, "each label counts once"

    device.kill()
    late, kept = fleet.ask("restart", seconds=0.5), fleet.ask("diagnostics")
    wait_until(lambda: fleet.state(late) == "expired", "the end of a command to a device that is off")
    device.start()
    wait_until(lambda: fleet.state(kept) == "done", "diagnostics of a device that was off")
    assert fleet.state(late) == "expired"
    again = fleet.ask("restart")
    wait_until(lambda: fleet.state(again) == "done", "the result of a restart")
    after = fleet.ask("sync-now")
    wait_until(lambda: fleet.state(after) == "done", "a device that works on after it")
    detail = json.loads(next(row.detail for row in fleet.rows if row.id == kept.id))
    assert detail["windows_remembered"] == WINDOWS
    assert device.stop() == 0
    assert status(device)["labels"] == WINDOWS
    fleet.store.close()
