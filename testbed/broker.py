"""A mosquitto of our own: on a free loopback port, in a folder of its own, gone when we are."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from testbed.mosquitto import Mosquitto, find_or_fetch

HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
PORT_ATTEMPTS = 5
PR_SET_PDEATHSIG = 1

CONFIG = """\
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval {autosave}
max_inflight_messages 0
max_queued_messages 100000
log_dest file {folder}/mosquitto.log
{user}
{extra}
"""

_libc = ctypes.CDLL(None, use_errno=True)


class BrokerFailed(RuntimeError):
    """mosquitto did not start; the message ends with its log."""


def die_with_parent() -> None:
    """For `preexec_fn`: let the kernel stop a child when its parent dies, however that happens (Linux)."""
    prctl = getattr(_libc, "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Broker:
    """mosquitto as a context manager. Everything it was told survives `restart`; `kill` is a power cut to it.

    autosave: persist after that many changes; 1 survives a SIGKILL, mosquitto's own default (about never) does not.
    """

    def __init__(self, *, autosave: int = 1, extra: str = "", port: int | None = None) -> None:
        self.host = HOST
        self.port = port or 0
        self._fixed_port = port is not None
        self._autosave, self._extra = autosave, extra
        self._mosquitto: Mosquitto | None = None
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        self._mosquitto = find_or_fetch()
        self._folder = Path(tempfile.mkdtemp(prefix="headway-broker-"))
        try:
            self._start_on_a_free_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        if self._process is None:
            raise BrokerFailed("the broker is not running")
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code of a broker that ended by itself; negative: the signal. None: it runs, or was stopped."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start again on the same port with the same data, after `stop` or `kill`."""
        if self._mosquitto is None or self._folder is None:
            raise BrokerFailed("use the broker as a context manager")
        user = "user root" if os.geteuid() == 0 else ""  # else it drops to nobody, who cannot read its own files
        config = self._folder / "mosquitto.conf"
        config.write_text(
            CONFIG.format(
                port=self.port, host=HOST, folder=self._folder, autosave=self._autosave, user=user, extra=self._extra
            )
        )
        self._process = subprocess.Popen(
            [str(self._mosquitto.program), "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._mosquitto.environment(),
            preexec_fn=die_with_parent,
        )
        self._wait_until_it_listens()

    def stop(self) -> None:
        """SIGTERM, as systemd would; SIGKILL if it does not leave."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """SIGKILL: what was not persisted is lost."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """A clean restart on the same port."""
        self.stop()
        self.start()

    def log(self) -> str:
        """What mosquitto has logged so far."""
        path = (self._folder or Path()) / "mosquitto.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _start_on_a_free_port(self) -> None:
        """Another program may take the port between our look and mosquitto's bind, so try a few times."""
        for attempt in range(PORT_ATTEMPTS):
            if not self._fixed_port:
                self.port = free_port()
            try:
                self.start()
            except BrokerFailed:
                if self._fixed_port or attempt == PORT_ATTEMPTS - 1:
                    raise
            else:
                return

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex((self.host, self.port)) == 0:
                    return
            time.sleep(0.01)
        tail = "\n".join(self.log().splitlines()[-5:])
        self.kill()
        raise BrokerFailed(f"mosquitto did not listen on {self.host}:{self.port}:\n{tail}")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
