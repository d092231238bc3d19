"""SIGHUP reads agent.toml again: what can be used is taken without losing a label, what cannot is refused."""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.config import read_config
from edge_agent.daemon import Daemon, run_once
from edge_agent.reloading import ReloadRequest
from edge_agent.remote import RemoteConfiguration
from edge_agent.sources.wake import Wake
from edge_agent.startup import active_bundle
from headway.ports import Clock
from headway.stopping import MEANINGLESS_SIGNALS, STOP_SIGNALS, StopRequest
from tests.device import ManualClock
from tests.edge_agent.test_looking import TOML
from tests.edge_agent.variants import IdentityRuntime, variant


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(active_bundle, "open_runtime", lambda variant, clock: IdentityRuntime())
    variant().write(tmp_path / "model.hwb")
    (tmp_path / "agent.toml").write_text(TOML)
    return tmp_path / "agent.toml"


@pytest.fixture
def request_by_signal(toml: Path) -> Iterator[ReloadRequest]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield ReloadRequest.on_signal(toml)
    signal.signal(signal.SIGHUP, before)


def test_a_signal_asks_once(toml: Path, request_by_signal: ReloadRequest) -> None:
    own = read_config(toml)
    assert not request_by_signal.accepted(own)
    os.kill(os.getpid(), signal.SIGHUP)
    assert request_by_signal.accepted(own)
    assert not request_by_signal.accepted(own)


def test_a_signal_while_the_program_still_loads_ends_nothing(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small board that takes seconds."""
    heard: list[tuple[bool, bool]] = []

    def load(file: Path) -> RemoteConfiguration:
        os.kill(os.getpid(), signal.SIGHUP)
        return RemoteConfiguration(file)

    def run(remote: RemoteConfiguration, clock: Clock, stop: StopRequest, *, once: bool, reload: ReloadRequest) -> bool:
        heard.append((stop.requested, reload.accepted(remote.begin())))
        return once

    monkeypatch.setattr("edge_agent.remote.RemoteConfiguration", load)
    monkeypatch.setattr("edge_agent.daemon.run_once", run)
    monkeypatch.setattr("sys.stdin", None)  # no terminal
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, *MEANINGLESS_SIGNALS)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        assert main(["run", str(toml)]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [(False, True)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "pump"', 'id = "valve"', "device.id changes from pump to valve"),
        ('state_dir = "state"', 'state_dir = "elsewhere"', "storage.state_dir changes"),
        ("[sensor]", "[sensr]", "sensr"),
        ('path = "model.hwb"', 'path = "none.hwb"', "none.hwb"),
        ("[sensor]", '[mqtt]\nhost = "b"\ntls = true\nca_file = "none.pem"\n[sensor]', "none.pem"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    toml: Path, old: str, new: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    own, request = read_config(toml), ReloadRequest(toml)
    toml.write_text(TOML.replace(old, new))
    request.request()
    with caplog.at_level(logging.ERROR):
        assert not request.accepted(own)
    assert said in caplog.text
    assert "the settings before stay" in caplog.text


def test_a_running_agent_ends_its_run_to_begin_with_the_new_file(toml: Path) -> None:
    request, clock = ReloadRequest(toml), ManualClock()
    daemon = Daemon(read_config(toml), clock, reload=request)
    toml.write_text(TOML + "poll_interval_s = 0.5\n")
    request.request()
    assert daemon.run(), "another run should follow"
    again = Daemon(read_config(toml), clock, reload=request)
    assert again._config.sensor.poll_interval_s == 0.5
    again.run(once=True)


def test_a_start_in_the_same_process_does_not_depend_on_a_file_that_was_refused(
    toml: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle or settings from afar make the agent start again while somebody edits its file."""
    remote, request, clock = RemoteConfiguration(toml), ReloadRequest(toml), ManualClock()
    for content in ("[device", TOML.replace('id = "pump"', 'id = "valve"'), TOML.replace("model.hwb", "none.hwb")):
        toml.write_text(content)
        request.request()
        assert not request.accepted(remote.begin())
        assert not run_once(remote, clock, StopRequest(), once=True, reload=request)
        assert remote.begin().device == "pump"
    toml.write_text(TOML + "poll_interval_s = 0.5\n")
    assert remote.begin().sensor.poll_interval_s == 1.0, "nobody has asked for it"
    request.request()
    assert run_once(remote, clock, StopRequest(), once=True, reload=request)
    assert remote.begin().sensor.poll_interval_s == 0.5


def test_starting_again_in_the_same_process_leaves_no_descriptor_behind(toml: Path) -> None:
    toml.write_text(TOML + '[answers]\nsocket = "answers.sock"\n')
    remote, clock, counts = RemoteConfiguration(toml), ManualClock(), list[int]()
    for _ in range(4):
        run_once(remote, clock, StopRequest(), once=True)
        gc.collect()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[1:] == counts[1:2] * 3


def test_a_source_that_is_closed_leaves_no_descriptor_behind() -> None:
    gc.collect()  # what other tests left is not counted as closed here
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        wake = Wake()
        wake.ring()
        assert select.select([wake], [], [], 5)[0]
        del wake
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
