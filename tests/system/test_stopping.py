"""The agent ends cleanly and soon, whatever it is doing; and whoever watches it always sees it move."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_agent.loop import DRAFT
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import data
from tests.system.test_agent import expected, learned, status

pytestmark = pytest.mark.system
NewDevice = Callable[..., Device]
STOP_S = 5.0
# the watchdog of the unit file barks after 60 s
PROGRESS_S = 2.0
# from the first thing that the command does to the last
STEPS = [
    "edge_agent.remote.remote_configuration:read_toml",
    "edge_agent.daemon:_lock",
    "edge_agent.startup.active_bundle:open_store",
    "edge_agent.startup.active_bundle:open_runtime",
    "edge_agent.startup.active_bundle:open_agent",
    "edge_agent.daemon:build_device",
    "edge_agent.loop:DeviceLoop.start",
    "edge_agent.sensors.spool:Spool.recover",
    "edge_agent.sensors.spool:Spool.read",
    "edge_agent.sensors.spool:Spool.answer",
    "edge_agent.store.retrying:RetryingStore.commit",
    "edge_agent.loop:DeviceLoop.stop",
    "edge_agent.store.retrying:RetryingStore.back_up",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_sigterm_at_any_step_is_a_clean_end(new_device: NewDevice, step: str) -> None:
    device = new_device()
    x, y = data(4, seed=4)
    device.drop("a", x=x, y=y)
    command = [sys.executable, "-m", "tests.system.interrupted", step, str(device.config)]
    with (device.folder / "log").open("a") as log:
        device.process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    if step in STEPS[-2:]:
        wait_until(lambda: device.answers() == {"a"}, "an answer")
        device.process.terminate()  # these come only once it ends
    assert device.process.wait(30) == 0, (device.folder / "log").read_text()
    device.process = None
    if device.answers():
        assert status(device)["labels"] == 4


def test_a_sigterm_that_finds_a_machine_too_busy_to_handle_it_at_once_is_a_clean_end(new_device: NewDevice) -> None:
    """The process is not scheduled until long after the wait for its next look into the spool is over."""
    for number in range(3):
        device = new_device(f"pump-{number}")
        x, y = data(4, seed=4)
        device.drop("a", x=x, y=y)
        device.start()
        assert device.process is not None
        wait_until(lambda device=device: device.answers() == {"a"} and not claimed(device), "a commit")  # type: ignore[misc]
        device.process.terminate()
        device.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)  # five of its waits
        device.process.send_signal(signal.SIGCONT)
        assert device.process.wait(STOP_S) == 0
        device.process = None


def claimed(device: Device) -> list[Path]:
    return list((device.folder / "spool" / "claimed").iterdir())


def test_a_sigterm_between_two_bundles_ends_the_agent(new_device: NewDevice) -> None:
    """A run that asks for another one, and a signal in the same moment."""
    device = new_device()
    code = (
        "import os, signal, sys\n"
        "from edge_agent import cli, daemon\n"
        "run = daemon.Daemon.run\n"
        "def switch(self, *, once=False):\n"
        "    self._restart = True\n"
        "    self._stop.wake_with(lambda: None)\n"
        "    print('run', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM) if sys.argv[2] == 'before' else None\n"
        "    again = run(self, once=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return again\n"
        "daemon.Daemon.run = switch\n"
        "sys.exit(cli.main(['run', sys.argv[1]]))\n"
    )
    for moment, runs in (("before", 1), ("after", 2)):
        command = [sys.executable, "-c", code, str(device.config), moment]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("run") == runs


def test_a_sigterm_inside_a_large_file_ends_soon_and_the_file_goes_on_where_it_was(
    new_device: NewDevice, bundle: Path
) -> None:
    device = new_device()
    x, y = data(3000, seed=5)
    device.drop("large", x=x, y=y)
    draft = device.folder / "state" / DRAFT
    device.start()
    wait_until(draft.exists, "a part of the answer")
    started = time.monotonic()
    assert device.stop() == 0
    assert time.monotonic() - started < STOP_S
    assert device.answers() == set()
    assert 0 < int(str(status(device)["labels"])) < 3000
    size = draft.stat().st_size
    device.start()
    wait_until(lambda: draft.exists() and draft.stat().st_size > size, "more of the answer")
    device.kill()
    result = device.once()
    assert result.returncode == 0, result.stderr
    assert learned(device, bundle) == expected(bundle, x, y)
    with np.load(device.folder / "predictions" / "large.npz") as answer:
        assert len(answer["prediction"]) == 3000
    assert not draft.exists()


def test_a_long_backlog_never_looks_like_a_hang(new_device: NewDevice, tmp_path: Path) -> None:
    device = new_device()
    x, y = data(300, seed=5)
    for row in range(300):
        device.drop(f"f{row:03d}", x=x[row : row + 1], y=y[row : row + 1])
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "60000000"}
        command = [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(device.config)]
        device.process = subprocess.Popen(command, env=environment, text=True)
        while b"READY=1" not in listener.recv(4096):
            pass
        ready_s = last_s = time.monotonic()
        longest_s = 0.0
        while len(device.answers()) < 300:
            if b"WATCHDOG=1" in listener.recv(4096):
                longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
        assert longest_s < PROGRESS_S
        assert last_s - ready_s > longest_s, "it was fed more than once"
        device.process.send_signal(signal.SIGTERM)
        assert device.process.wait(STOP_S) == 0
    device.process = None


def test_what_the_last_run_left_is_taken_up_after_the_start_is_told(new_device: NewDevice, tmp_path: Path) -> None:
    """A window on which the runtime hangs or dies ends the process three times, then the file is set aside."""
    device = new_device()
    x, y = data(4, seed=4)
    device.drop("a-bad", x=np.full_like(x, 60), y=y)
    device.drop("b-good", x=x, y=y)
    code = (
        "import os, signal, sys\n"
        "from edge_agent import cli\n"
        "from edge_agent.runtime import TFLiteRuntime\n"
        "embed = TFLiteRuntime.embed\n"
        "def dies(self, inputs):\n"
        "    if inputs.max() == 60:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return embed(self, inputs)\n"
        "TFLiteRuntime.embed = dies\n"
        "sys.exit(cli.main(['run', '--once', sys.argv[1]]))\n"
    )
    command = [sys.executable, "-c", code, str(device.config)]
    for _ in range(3):
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert result.returncode == -signal.SIGKILL
        assert "ready" in result.stderr
        assert device.answers() == set()
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert device.answers() == {"b-good"}
    reason = device.folder / "spool" / "rejected" / "a-bad.npz.reason"
    assert reason.read_text().startswith("tried 3 times without coming to an end")
