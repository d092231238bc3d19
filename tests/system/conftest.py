"""Real programs, a real bundle, a real broker."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from testbed.broker import Broker, die_with_parent
from tests.system.kept_bundle import kept

WAIT_S = 60.0
BIN = Path(sys.executable).parent


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Poll for an outcome of another process; fails with what was waited for."""
    began_s = time.monotonic()
    while not done():
        waited_s = time.monotonic() - began_s
        if waited_s > WAIT_S:
            pytest.fail(f"waited {WAIT_S:.0f} s for {what}")
        # asking takes time from the process that is waited for: the longer the wait, the less often
        time.sleep(min(max(0.005, waited_s / 50), 0.05))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle written by edge-convert from a Keras model; once for all processes that run tests, and as long as what
    it follows from stays the same."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "system-bundle"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "tiny.hwb").exists():
            folder.mkdir(exist_ok=True)
            kept(folder, make_bundle)
    return folder / "tiny.hwb"


def make_bundle(folder: Path, *options: str) -> Path:
    """A bundle of the small model in `folder`, by edge-convert with these options."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, "-m", "tests.system.make_model", str(folder)], check=True, env=environment)
    command = [
        BIN / "edge-convert",
        folder / "tiny.keras",
        "--data",
        folder / "train.npz",
        "--out",
        folder / "tiny.hwb",
        *options,
    ]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return folder / "tiny.hwb"


@dataclass
class Device:
    """A device's folders and its agent process."""

    folder: Path
    config: Path
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self) -> None:
        command = [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(self.config)]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, text=True, preexec_fn=die_with_parent)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM, as systemd does; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(WAIT_S)
        self.process = None
        return code

    def once(self) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "edge-agent"), "run", str(self.config), "--once"]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)

    def drop(self, name: str, **arrays: np.ndarray) -> None:
        part = self.folder / "spool" / f".{name}.npz"
        part.parent.mkdir(exist_ok=True)
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.rename(part.with_name(f"{name}.npz"))

    def answers(self) -> set[str]:
        return {path.stem for path in (self.folder / "predictions").glob("*.npz")}


@pytest.fixture
def new_device(tmp_path: Path, bundle: Path) -> Iterator[Callable[..., Device]]:
    """Makes devices; every process still running at the end is killed."""
    devices: list[Device] = []

    def make(name: str = "pump", broker: Broker | None = None, extra: str = "") -> Device:
        folder = tmp_path / name
        folder.mkdir()
        text = f'[device]\nid = "{name}"\nfleet = "test"\n[bundle]\npath = "{bundle}"\n[storage]\nstate_dir = "state"\n'
        text += "[sensor]\npoll_interval_s = 0.02\n[sync]\ninterval_s = 0.2\nack_timeout_s = 2\n" + extra
        if broker is not None:
            text += f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\nreconnect_max_s = 0.5\n'
        config = folder / "agent.toml"
        config.write_text(text)
        devices.append(Device(folder, config))
        return devices[-1]

    yield make
    for device in devices:
        device.kill()


@pytest.fixture
def aggregator(tmp_path: Path, bundle: Path) -> Iterator[Callable[[Broker], subprocess.Popen[bytes]]]:
    """Starts the real aggregator against a broker; the same state folder each time."""
    running: list[subprocess.Popen[bytes]] = []

    def start(broker: Broker) -> subprocess.Popen[bytes]:
        place = ["--host", broker.host, "--port", str(broker.port), "--fleet", "test", "--publish-interval", "0.1"]
        state = ["--bundle", str(bundle), "--state-dir", str(tmp_path / "aggregator")]
        with (tmp_path / "aggregator.log").open("ab") as log:
            command = [str(BIN / "edge-fleet"), "serve", *place, *state]
            running.append(subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent))
        return running[-1]

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
