"""SIGHUP reads agent.toml again: what can be used is taken without losing a label, what cannot is refused."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.config import read_config
from edge_agent.daemon import Daemon
from edge_agent.reloading import ReloadRequest
from edge_agent.startup import active_bundle
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
    before = signal.getsignal(signal.SIGHUP)
    yield ReloadRequest.on_signal(toml)
    signal.signal(signal.SIGHUP, before)


def test_a_signal_asks_once(toml: Path, request_by_signal: ReloadRequest) -> None:
    own = read_config(toml)
    assert not request_by_signal.accepted(own)
    os.kill(os.getpid(), signal.SIGHUP)
    assert request_by_signal.accepted(own)
    assert not request_by_signal.accepted(own)


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
