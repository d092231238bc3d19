"""From the order to try a bundle to the end of its trial: what begins it, ends it, and stops it for good."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.delivery.ports import Examined
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.trial import Subprocess, Trial, TrialFailed, Trials
from edge_agent.trial_settings import TrialSettings
from headway.errors import StoreError
from headway.ports import SystemClock
from headway.wire import TRIAL, TrialReport
from tests.device import ManualClock
from tests.edge_agent.test_delivery import NEW, OLD, Device, desired, sha256
from tests.edge_agent.test_selftest import program
from tests.edge_agent.test_trial import Breaks, elsewhere, shadow
from tests.edge_agent.variants import pipeline, variant

ORDER = replace(desired(), mode=TRIAL)


@dataclass
class FakeTrials:
    """Notes what the installer asks for."""

    problem: str = ""
    tried: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    stopped: int = 0

    def begin(self, sha256: str, bundle: Path) -> None:
        assert bundle.read_bytes() == NEW
        self.tried = sha256

    def poll(self) -> str:
        return self.problem

    def refuse(self, sha256: str, problem: str) -> None:
        self.tried, self.refused[sha256] = "", problem

    def end(self) -> None:
        self.tried = ""

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def trials() -> FakeTrials:
    return FakeTrials()


@pytest.fixture
def device(tmp_path: Path, trials: FakeTrials) -> Device:
    return Device(tmp_path, trials=trials)


def ordered(device: Device) -> None:
    device.delivery.desired(ORDER.encode())
    device.fetch()
    device.turn()


def test_a_bundle_to_be_tried_is_tested_and_not_switched_to(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    assert trials.tried == sha256(NEW)
    assert (device.running, device.delivery.restart) == (OLD, False)
    assert device.delivery.state == "release 2: tried beside release 1"
    assert device.news == ["delivery-started", "delivery-verified", "delivery-tested", "trial-started"]
    assert device.turn(1000.0) is None
    assert len(device.tests) == 1


def test_the_order_to_switch_takes_the_file_that_is_there(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    device.delivery.desired(desired().encode())
    assert trials.tried == ""
    assert device.turn() is None
    assert device.running == NEW
    assert device.delivery.restart


def test_a_file_on_its_way_may_be_meant_otherwise(device: Device, trials: FakeTrials) -> None:
    device.delivery.desired(desired().encode())
    request = device.turn()
    assert request is not None
    device.give(request)
    device.delivery.desired(ORDER.encode())
    device.boot()  # and the disk knows it
    device.delivery.desired(ORDER.encode())
    assert device.fetch() >= 2
    device.turn()
    assert (trials.tried, device.running) == (sha256(NEW), OLD)


def test_a_withdrawn_order_ends_the_trial(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    device.delivery.desired(b"")
    assert trials.tried == ""
    assert list(device.slots.idle.iterdir()) == []
    assert device.delivery.state == ""


def test_after_a_start_the_trial_goes_on(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    device.delivery.stop(device.now_s)
    assert trials.stopped == 1
    trials.tried = ""
    device.boot()
    device.turn()
    assert trials.tried == sha256(NEW)
    device.delivery.desired(ORDER.encode())
    assert device.turn() is None
    assert len(device.tests) == 2


def test_starts_that_come_to_nothing_end_the_trial(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    for _ in range(5):
        device.boot()
        device.turn()
    assert len(device.tests) == device.settings.starts_max
    assert trials.refused == {sha256(NEW): "3 trials ended with the machine"}
    assert device.running == OLD
    device.delivery.desired(ORDER.encode())
    assert device.turn() is None
    assert "3 trials ended with the machine" in trials.refused[sha256(NEW)]


def test_a_power_cut_long_after_the_start_is_none_of_the_bundles_fault(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    for _ in range(5):
        device.turn(61.0)
        device.boot()
        device.turn()
    assert trials.refused == {}
    assert trials.tried == sha256(NEW)


def test_a_bundle_that_fails_on_trial_is_refused(device: Device, trials: FakeTrials) -> None:
    ordered(device)
    trials.problem = "the process of the new bundle ended with code -11"
    device.turn()
    assert device.slots.pointer.refused == {sha256(NEW): trials.problem}
    assert trials.refused == device.slots.pointer.refused
    assert list(device.slots.idle.iterdir()) == []


@pytest.mark.parametrize(
    ("order", "tested", "problem"),
    [
        (ORDER, Examined("no runtime here can run it"), "no runtime here can run it"),
        (replace(ORDER, release=1), None, "release 1 is not newer than 1; convert with a higher --release"),
    ],
)
def test_what_cannot_be_tried_is_told(
    device: Device, trials: FakeTrials, order: object, tested: Examined | None, problem: str
) -> None:
    device.tested = tested
    device.delivery.desired(order.encode())  # type: ignore[attr-defined]
    device.fetch()
    assert trials.refused == {sha256(NEW): problem}


def test_a_device_that_does_not_try_bundles_ignores_the_order(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.delivery.desired(ORDER.encode())
    assert device.turn() is None
    assert (device.news, device.delivery.state) == ([], "")


def trials_of(clock: ManualClock, through: Breaks) -> Trials:
    trial = Trial(HeadLearner(variant(), LearnerSettings()), TrialSettings())
    return Trials(trial, variant(), lambda bundle: elsewhere(), lambda bundle: through, 30.0)


def test_reports_are_told_when_they_change_and_not_too_often(tmp_path: Path) -> None:
    clock = ManualClock()
    trials = trials_of(clock, Breaks(1, shadow(elsewhere())))
    trials.reports.reconnected()

    def told() -> TrialReport | None:
        payload = trials.reports.due(clock.now_s)
        return None if payload is None else TrialReport.decode(payload)

    assert told() == TrialReport("", 0, "none")
    assert told() is None
    trials.begin("2" * 64, tmp_path)
    assert trials.poll() == ""
    assert told() == TrialReport("2" * 64, 1, "running")
    x, y = np.zeros((2, 8), np.float32), np.array([0, 1])
    features = pipeline().features(x)
    trials.trial.see(x, features, None, y)
    clock.now_s += 29.0
    assert told() is None
    trials.refuse("2" * 64, "too\nbad")
    assert told() == TrialReport("2" * 64, 2, "failed", problem="too bad")
    trials.reports.reconnected()
    assert told() == TrialReport("2" * 64, 2, "failed", problem="too bad")
    trials.end()
    assert told() == TrialReport("", 0, "none")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "the process of the new bundle ended with code -11",
        ),
        ("import time; time.sleep(60)", "the process of the new bundle did not start in time"),
    ],
)
def test_a_process_that_does_not_start_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    variant().write(tmp_path / "model.hwb")
    monkeypatch.setattr(sys, "executable", program(tmp_path, text))
    process = worker(tmp_path)
    with pytest.raises(TrialFailed, match=problem):
        wait(process)
    process.close()


@pytest.mark.parametrize(
    ("rest", "window_s_max", "problem"),
    [
        ("time.sleep(60)", 0.2, "took more than window_s_max, 0.2 s, for a window"),
        ("s.receive(c); sys.exit(3)", 30.0, "ended with code 3"),
        ("s.receive(c); s.send(c, b'nonsense')", 30.0, "not a safetensors file"),
    ],
)
def test_a_process_that_hangs_or_dies_over_a_window_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: str, window_s_max: float, problem: str
) -> None:
    variant().write(tmp_path / "model.hwb")
    hello = "import socket, sys, time, headway.tensors as t, edge_agent.trial.shadow as s\n"
    hello += "c = socket.socket(fileno=int(sys.argv[3])); s.send(c, t.encode_tensors({}, {}))\n"
    monkeypatch.setattr(sys, "executable", program(tmp_path, hello + rest))
    process = worker(tmp_path, start_s_max=30.0, window_s_max=window_s_max)
    wait(process)
    with pytest.raises(TrialFailed, match=problem):
        process.features(np.zeros((1, 8), np.float32))
    process.close()


def test_the_process_tells_why_a_bundle_does_not_run(tmp_path: Path) -> None:
    """The real process: no runtime can load a backbone that is the word "identity"."""
    variant().write(tmp_path / "model.hwb")
    process = worker(tmp_path, start_s_max=30.0)
    with pytest.raises(TrialFailed, match=r"no runtime here can run bundle walk 1\.0\.0"):
        wait(process)
    process.close()


def test_a_machine_that_starts_no_process_now_is_not_the_bundles_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-such-program"))
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StoreError, match="cannot start the trial of"):
        worker(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == open_before


def worker(folder: Path, start_s_max: float = 2.0, window_s_max: float = 0.2) -> Subprocess:
    clock, bundle = SystemClock(), folder / "model.hwb"
    return Subprocess(bundle, None, pipeline(), clock, window_s_max=window_s_max, start_s_max=start_s_max)


def wait(process: Subprocess) -> None:
    clock = SystemClock()
    deadline_s = clock.monotonic_s() + 30.0
    while not process.ready():
        assert clock.monotonic_s() < deadline_s
