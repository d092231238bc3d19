"""Policies and labels that wait: when the device learns, and that nothing is lost or out of order meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.labels.label_queue import WAITING
from edge_agent.labels.machine_state import LinuxMachineState
from edge_agent.labels.policy import Policy
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings, PolicySettings
from edge_agent.loop import DeviceLoop
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore, SQLiteStore, Store
from edge_agent.store.retrying import RetryingStore
from edge_agent.sync.history import SyncState
from edge_agent.training import Training
from headway.errors import ConfigError
from tests.device import open_device
from tests.edge_agent.variants import pipeline, variant, windows


@dataclass
class FakeSurroundings:
    load: float = 0.1
    celsius: float | None = 40.0
    mains: bool = True

    def load_average(self) -> float:
        return self.load

    def temperature_c(self) -> float | None:
        return self.celsius

    def on_mains(self) -> bool:
        return self.mains


@dataclass
class Clock:
    now_s: float = 100.0
    a_look_s: float = 0.0

    def monotonic_s(self) -> float:
        self.now_s += self.a_look_s
        return self.now_s

    def wall_s(self) -> float:
        return 1.8e9


class Device:
    """An agent with a store and a policy, as the loop puts them together."""

    def __init__(self, store: Store | None = None, kind: str = "exact", **policy: object) -> None:
        self.store, self.clock, self.around = store or MemoryStore(), Clock(), FakeSurroundings()
        settings = LearnerSettings(kind=kind, learning_rate=0.5)
        remembered = RememberedWindows(settings.horizon_rows)
        limits = PolicySettings(**policy)  # type: ignore[arg-type]
        self.agent = Agent(
            "d",
            HeadLearner(variant(), settings),
            SyncSettings(),
            SyncState(epoch=7),
            windows=remembered,
            waiting_rows_max=limits.waiting_rows_max,
            waiting_bytes_max=limits.waiting_bytes_max,
        )
        resume(self.agent, self.store)
        self.keeper = RetryingStore(self.store)
        made = Policy(limits, self.around, self.clock.now_s)
        self.training = Training(self.clock, self.agent, self.keeper, made)
        self.commit()

    @property
    def waiting(self) -> int:
        return len(self.agent.labelling.queue)

    def commit(self) -> None:
        self.keeper.commit(self.agent.changes(), self.clock.now_s)

    def batch(self, count: int, seed: int = 0, *, labelled: bool = True, ids: str = "", drift: float = 0.0) -> None:
        x, y = windows(count, seed=seed, drift=drift)
        self.training.grant()
        names = [f"{ids}{row}" for row in range(count)] if ids else None
        self.agent.process(pipeline().features(x), y if labelled else None, names)
        self.commit()

    def label(self, ids: list[str], labels: list[int]) -> None:
        self.training.grant()
        self.agent.label(ids, np.array(labels, np.int64))
        self.commit()


def test_always_learns_at_once() -> None:
    device = Device()
    device.batch(20)
    assert (device.waiting, device.agent.learner.labels) == (0, 20)


def test_every_n_labels() -> None:
    device = Device(trigger="labels", every_labels=50)
    device.batch(49)
    device.training.step()
    assert (device.waiting, device.agent.learner.labels) == (49, 0)
    assert device.training.obstacle == "49 of 50 labels are there"
    device.batch(1)
    device.training.step()
    assert (device.waiting, device.agent.learner.labels) == (0, 50)
    device.batch(10)
    assert device.waiting == 10, "the door has closed again"


def test_every_t_seconds() -> None:
    device = Device(trigger="interval", every_s=60)
    device.batch(5)
    assert not device.training.step()
    device.clock.now_s += 61
    assert device.training.step() == 5
    device.batch(5)
    assert not device.training.step()


@pytest.mark.parametrize(
    ("settings", "bad", "reason"),
    [
        ({"load_max": 1.0}, {"load": 1.7}, "load 1.70 is above 1"),
        ({"temperature_c_max": 70.0}, {"celsius": 71.5}, "71.5 C is above 70 C"),
        ({"mains_only": True}, {"mains": False}, "the device runs on battery"),
    ],
)
def test_conditions_hold_the_door_shut_and_nothing_is_lost(
    settings: dict[str, object], bad: dict[str, object], reason: str
) -> None:
    device = Device(**settings)
    good = {name: getattr(device.around, name) for name in bad}
    for name, value in bad.items():
        setattr(device.around, name, value)
    device.batch(30)
    assert not device.training.step()
    assert (device.waiting, device.training.obstacle) == (30, reason)
    assert reason in device.training.status_detail
    for name, value in good.items():
        setattr(device.around, name, value)
    assert device.training.step() == 30
    assert device.training.status_detail == ""


def test_a_limit_that_cannot_be_sensed_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no thermal zone"):
        Policy(PolicySettings(temperature_c_max=70), FakeSurroundings(celsius=None), 0.0)


def test_on_drift_alone_by_labels_that_wait() -> None:
    device = Device(trigger="drift", every_labels=40)
    device.batch(200, 1)
    assert (device.training.step(), device.waiting) == (0, 200)
    device.batch(60, 2, drift=1.0)
    assert device.agent.labelling.drift_ahead
    assert device.training.step() == 260
    events = [event.name for event in device.agent.take_events(0.0)]
    assert events.count("drift") == 1, "the learner comes to the same alarm, once"
    device.batch(60, 3, drift=1.0)
    assert (device.training.step(), device.waiting) == (0, 0), "labels after the alarm are those that help"
    device.batch(60, 4, drift=1.0)
    assert (device.training.step(), device.waiting) == (0, 60), "after so many the door has closed again"


def test_a_restart_foresees_the_same_drift() -> None:
    store = MemoryStore()
    device = Device(store, trigger="drift")
    device.batch(200, 1)
    x, y = windows(60, seed=2, drift=1.0)
    features = pipeline().features(x)
    for row in range(60):
        device = Device(store, trigger="drift") if row == 20 else device
        device.agent.labelling.allow(0)
        device.agent.process(features.rows(row, row + 1), y[row : row + 1])
        device.commit()
        if device.agent.labelling.drift_ahead:
            break
    whole = Device(trigger="drift")
    whole.batch(200, 1)
    whole.agent.labelling.allow(0)
    whole.agent.process(features.rows(0, row), y[:row])
    assert not whole.agent.labelling.drift_ahead
    whole.agent.process(features.rows(row, row + 1), y[row : row + 1])
    assert whole.agent.labelling.drift_ahead


@pytest.mark.parametrize("kind", ["exact", "gradient"])
def test_waiting_changes_no_bit_of_what_is_learned(kind: str, tmp_path: Path) -> None:
    """Late labels, corrected and taken back while they wait, across a restart: as if the last word had come first."""
    straight, store = Device(kind=kind), SQLiteStore(tmp_path / "a.sqlite")
    waits = Device(store, kind=kind, trigger="labels", every_labels=1000)
    for device in (straight, waits):
        device.batch(80, labelled=False, ids="w")
    _, y = windows(80)
    ids = [f"w{row}" for row in range(80)]
    order = np.random.default_rng(0).permutation(80).tolist()
    kept = [row for row in order if row != order[7]]
    straight.label([ids[row] for row in kept], [int(y[row]) for row in kept])
    wrong = {order[3]: (int(y[order[3]]) + 1) % 3, order[70]: (int(y[order[70]]) + 1) % 3}
    waits.label([ids[row] for row in order], [wrong.get(row, int(y[row])) for row in order])
    waits.label([ids[order[3]], ids[order[7]]], [int(y[order[3]]), -1])
    store.close()
    waits = Device(SQLiteStore(tmp_path / "a.sqlite"), kind=kind, trigger="labels", every_labels=79)
    assert waits.waiting == 79
    waits.label([ids[order[70]], ids[order[3]]], [int(y[order[70]]), int(y[order[3]])])
    assert waits.training.step() == 79
    assert waits.agent.learner.encode() == straight.agent.learner.encode()
    assert not any(name.startswith(WAITING) for name in waits.store.load())
    # learned now, a correction reaches the learner itself
    for device in (straight, waits):
        device.label([ids[order[5]]], [(int(y[order[5]]) + 1) % 3])
    assert waits.agent.learner.encode() == straight.agent.learner.encode()


def test_a_step_keeps_its_budget_of_labels_and_of_time() -> None:
    device = Device(trigger="labels", every_labels=100, step_labels_max=30)
    device.batch(100)
    assert [device.training.step() for _ in range(5)] == [30, 30, 30, 10, 0]
    device = Device(trigger="labels", every_labels=100, step_s_max=0.5)
    device.batch(100)
    device.clock.a_look_s = 0.2
    assert device.training.step() == 3
    figures = device.training.figures
    assert (figures.steps, figures.labels) == (1, 3)
    assert 0.5 <= figures.longest_s < 1.0
    assert "97 labels wait, longest step" in device.training.status_detail


def test_predictions_of_a_large_batch_wait_for_a_bounded_number_of_labels() -> None:
    device = Device(step_labels_max=25)
    device.batch(100)
    assert (device.agent.learner.labels, device.waiting) == (25, 75)


def test_when_too_many_wait_the_oldest_are_learned_whatever_the_policy_says() -> None:
    device = Device(trigger="drift", waiting_rows_max=10)
    device.batch(25)
    assert (device.waiting, device.agent.learner.labels) == (10, 15)


def test_labels_for_a_window_that_came_again_under_its_id_do_not_mix() -> None:
    device = Device(trigger="labels", every_labels=1000)
    device.batch(1, 1, labelled=False, ids="w")
    device.label(["w0"], [0])
    device.batch(1, 2, labelled=False, ids="w")
    device.agent.learn_waiting(5)
    window = device.agent.windows.get("w0")
    assert window is not None
    assert window.label == -1, "the first window's label is not the second one's"
    assert device.agent.learner.labels == 1


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_linux_surroundings(tmp_path: Path) -> None:
    subject = LinuxMachineState(tmp_path)
    with pytest.raises(ConfigError, match="loadavg"):
        subject.load_average()
    assert subject.temperature_c() is None
    assert subject.on_mains(), "no battery"
    write(tmp_path / "proc/loadavg", "0.75 0.50 0.25 1/200 4242\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "41500\n")
    write(tmp_path / "sys/class/thermal/thermal_zone1/temp", "55250\n")
    write(tmp_path / "sys/class/thermal/thermal_zone2/temp", "invalid\n")
    write(tmp_path / "sys/class/power_supply/BAT0/type", "Battery\n")
    write(tmp_path / "sys/class/power_supply/AC/type", "Mains\n")
    write(tmp_path / "sys/class/power_supply/AC/online", "0\n")
    assert subject.load_average() == 0.75
    assert subject.temperature_c() == 55.25
    assert not subject.on_mains()
    write(tmp_path / "sys/class/power_supply/AC/online", "1\n")
    assert subject.on_mains()


def test_the_service_answers_at_once_and_learns_in_its_time(tmp_path: Path) -> None:
    """The whole loop over a spool: a policy, a restart while labels wait, and the status line."""
    sensor = SensorSettings(tmp_path / "spool", tmp_path / "predictions")
    policy = PolicySettings(trigger="interval", every_s=600, step_labels_max=25, load_max=1.0)
    config = AgentConfig("d", "plant", tmp_path / "m.hwb", tmp_path, sensor, policy=policy)
    clock, around, store = Clock(), FakeSurroundings(), SQLiteStore(tmp_path / "a.sqlite")

    def loop() -> DeviceLoop:
        made = open_device(config, clock, store, machine_state=around)
        made.start()
        return made

    def turn(device: DeviceLoop) -> None:
        device.next_poll_s = 0.0
        device.turn()

    device = loop()
    x, y = windows(40)
    np.savez(sensor.spool_dir / "1.npz", x=x, y=y)
    turn(device)
    assert (sensor.predictions_dir / "1.npz").exists()
    assert device.agent.learner.labels == 0
    assert "40 labels wait: the next time is in 600 s" in device.condition
    device = loop()
    clock.now_s += 601
    around.load = 3.0
    turn(device)
    assert "40 labels wait: load 3.00 is above 1" in device.condition
    around.load = 0.0
    turn(device)
    assert device.agent.learner.labels == 25
    turn(device)
    assert device.agent.learner.labels == 40
    assert "wait" not in device.condition
    assert loop().agent.learner.encode() == device.agent.learner.encode()
