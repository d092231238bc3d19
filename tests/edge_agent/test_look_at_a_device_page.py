"""docs/howto/look-at-a-device.md: its commands do what it says, and its codes are those of the families."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edge_agent.cli import main, parser
from edge_agent.commands import doctor, try_model
from edge_agent.config import read_config
from edge_agent.daemon import Daemon
from edge_agent.reloading import FIXED
from edge_agent.startup import active_bundle
from headway import errors
from tests.architecture.rules import ROOT
from tests.device import ManualClock
from tests.edge_agent.test_looking import TOML
from tests.edge_agent.variants import IdentityRuntime, variant, windows

PAGE = (ROOT / "docs" / "howto" / "look-at-a-device.md").read_text()
COMMANDS = [shlex.split(line) for line in re.findall(r"(?m)^\$ edge-agent (.*)$", PAGE)]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the page's commands, after a first run."""
    import numpy as np

    for module in (active_bundle, doctor, try_model):
        monkeypatch.setattr(module, "open_runtime", lambda variant, clock=None: IdentityRuntime())
    monkeypatch.chdir(tmp_path)
    variant().write(tmp_path / "model.hwb")
    (tmp_path / "agent.toml").write_text(TOML)
    np.savez(tmp_path / "windows.npz", x=windows(12)[0])
    Daemon(read_config(tmp_path / "agent.toml"), ManualClock()).run(once=True)
    return tmp_path


def test_each_command_does_what_the_page_says(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {words[0] for words in COMMANDS} == {"try", "check", "doctor", "diag", "status", "explain", "watch"}
    for words in COMMANDS:
        if "arecord" in " ".join(words):
            assert callable(parser().parse_args(words).run)  # needs a microphone
            continue
        assert main(words) == 0, words
        assert capsys.readouterr().out.strip(), words
    assert (device / "pump.zip").exists()


def test_exit_codes_are_those_of_the_families() -> None:
    told = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", PAGE)}
    families = (
        errors.ConfigError,
        errors.BundleError,
        errors.RuntimeUnavailableError,
        errors.StoreError,
        errors.TransportError,
    )
    assert told == {each.exit_code for each in families}


def test_what_a_reload_does_not_take_is_named() -> None:
    assert all(f"`{key}`" in PAGE for key in FIXED.values())
    assert "ExecReload=kill -HUP $MAINPID" in (ROOT / "systemd" / "edge-agent.service").read_text()
