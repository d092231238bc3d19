"""On request a device gives up what it started from, and takes back the labels of a class whose codes it still has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.loop import DeviceLoop
from edge_agent.store import MemoryStore
from headway.fields import JsonValue
from headway.ports import Connected, Received
from headway.wire import Command, CommandResult, CommandResults, Commands, Kind, topic
from tests.device import ManualClock, RecordingTransport, open_device
from tests.edge_agent.test_fleet_prior import head, prior
from tests.edge_agent.variants import CLASSES, pipeline, windows


class Wrist:
    """A device over one store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.clock = folder, MemoryStore(), ManualClock()
        self.start()

    def start(self) -> None:
        sensor = SensorSettings(self.folder / "spool", self.folder / "predictions")
        config = AgentConfig("wrist-1", "plant", self.folder / "model.hwb", self.folder, sensor)
        self.transport = RecordingTransport()
        self.loop: DeviceLoop = open_device(config, self.clock, self.store, transport=self.transport)
        self.loop.handle(Connected(True))

    def ask(self, name: str, number: int = 1, **arguments: JsonValue) -> CommandResult:
        command = Command(f"{number:016x}", name, arguments, self.clock.wall + 3600.0)
        self.loop.handle(Received(topic("plant", "wrist-1", Kind.COMMANDS), Commands((command,)).encode()))
        self.loop.turn()
        return CommandResults.decode(self.transport.of(Kind.COMMAND_RESULTS)[-1]).results[-1]

    def learn(self, count: int, *, named: bool, seed: int = 0) -> list[int]:
        x, y = windows(count, seed=seed)
        ids = [f"w{seed}-{row}" for row in range(count)] if named else None
        self.loop.agent.process(pipeline().features(x), y, ids)
        self.store.commit(self.loop.agent.changes())
        return [int(label) for label in y]


@pytest.fixture
def wrist(tmp_path: Path) -> Wrist:
    return Wrist(tmp_path)


def test_a_prior_is_given_up_and_asked_for_again(wrist: Wrist) -> None:
    fresh = wrist.loop.agent.learner._heads()["exact"].kernel.copy()
    wrist.loop.handle(Received(topic("plant", "_all", Kind.HEAD), head(3, 900), True))
    wrist.loop.handle(Received(topic("plant", "wrist-1", Kind.PRIOR), prior()))
    assert wrist.loop.agent.learner.prior_samples == 300
    result = wrist.ask("renew-prior")
    assert (result.state, result.detail) == ("done", {"samples": 300})
    assert wrist.loop.agent.learner.prior_samples == 0
    assert np.array_equal(wrist.loop.agent.learner._heads()["exact"].kernel, fresh), "as if it had never been told"
    assert wrist.transport.of(Kind.PRIOR_REQUEST)
    wrist.start()
    assert wrist.loop.agent.learner.prior_samples == 0, "a restart does the same from the journal"


def test_a_prior_is_given_up_however_many_labels_there_are(wrist: Wrist) -> None:
    wrist.loop.handle(Received(topic("plant", "wrist-1", Kind.PRIOR), prior()))
    wrist.learn(200, named=True)
    assert not wrist.loop.agent.learner.wants_prior
    assert wrist.ask("renew-prior").detail == {"samples": 300}
    assert wrist.loop.agent.learner.prior_samples == 0
    assert wrist.ask("renew-prior", 2).detail == {"samples": 0}


def test_labels_of_a_class_are_taken_back_where_their_codes_are_left(wrist: Wrist) -> None:
    lost = wrist.learn(30, named=False, seed=1)
    known = wrist.learn(30, named=True, seed=2)
    index = 1
    result = wrist.ask("forget-class", **{"class": CLASSES[index]})
    assert result.detail == {"forgotten": known.count(index), "left": lost.count(index)}, "and no more is claimed"
    statistics = wrist.loop.agent.learner.trainer.statistics
    assert statistics is not None
    assert int(statistics.class_sums[-1, index]) == lost.count(index)
    assert statistics.samples == 60 - known.count(index)


def test_a_class_that_nobody_knows_is_refused(wrist: Wrist) -> None:
    result = wrist.ask("forget-class", **{"class": "swim"})
    assert result.state == "failed"
    assert "'swim' is no class of this device" in str(result.detail)
