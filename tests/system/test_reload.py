"""A real agent that is sent SIGHUP goes on with the new file in the same process, or with the old one and a reason."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest

from edge_agent.commands import read_status
from edge_agent.config import read_config
from testbed.broker import die_with_parent
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import data

pytestmark = pytest.mark.system


def as_under_systemd() -> None:
    """Of the agent's process: the tests themselves may run under nohup, whose children have SIGHUP ignored."""
    die_with_parent()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_sighup_changes_settings_without_losing_a_label_and_refuses_a_bad_file(
    new_device: Callable[..., Device],
) -> None:
    device = new_device()
    x, y = data(8, seed=4)
    with (device.folder / "log").open("w") as log:  # of no terminal, as under systemd
        command = [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(device.config)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        process = subprocess.Popen(command, text=True, preexec_fn=as_under_systemd, **streams)  # type: ignore[call-overload]
    device.process = process
    device.drop("a", x=x, y=y)
    wait_until(lambda: "a" in device.answers(), "the first answer")
    good = device.config.read_text()

    device.config.write_text(good.replace("[sensor]", "[sensr]"))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the settings before stay" in (device.folder / "log").read_text(), "the refusal")
    device.drop("b", x=x, y=y)
    wait_until(lambda: "b" in device.answers(), "an answer with the old settings")

    device.config.write_text(good.replace("[sensor]", '[sensor]\npredictions_dir = "elsewhere"'))
    process.send_signal(signal.SIGHUP)
    wait_until((device.folder / "elsewhere").is_dir, "the folder of the new settings")
    device.drop("c", x=x, y=y)
    wait_until((device.folder / "elsewhere" / "c.npz").exists, "an answer with the new settings")
    assert process.poll() is None, "it is the same process"
    assert device.stop() == 0
    assert read_status(read_config(device.config))["labels"] == 24
