"""Real agents for figures of a device alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.interpreters import ROOT

START_TIMEOUT_S = 120.0
# of the unit; any value makes the agent feed it at each turn
WATCHDOG_USEC = 60_000_000


class Watchdog:
    """Hears what an agent tells systemd, and how long it is silent."""

    def __init__(self, heard: socket.socket) -> None:
        self._heard = heard
        self._lock = threading.Lock()
        self._last_s, self._longest_s = time.monotonic(), 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    def longest_s(self) -> float:
        """The longest time between two signs of life since the last call, the silence of now among them."""
        with self._lock:
            now_s = time.monotonic()
            longest_s, self._longest_s, self._last_s = max(self._longest_s, now_s - self._last_s), 0.0, now_s
        return longest_s

    def _listen(self) -> None:
        while True:
            try:
                payload = self._heard.recv(4096)
            except OSError:
                return  # closed, with the agent
            if b"WATCHDOG=1" in payload:
                with self._lock:
                    now_s = time.monotonic()
                    self._longest_s, self._last_s = max(self._longest_s, now_s - self._last_s), now_s


@contextmanager
def ready_agent(
    home: Path, bundle: Path, *, python: str = sys.executable, public_key: Path | None = None, sensor: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A running agent without a broker, its spool and predictions below `home`; READY when this returns.

    sensor: lines of its ``[sensor]`` table.
    """
    with watched_agent(home, bundle, python=python, public_key=public_key, sensor=sensor) as (process, _):
        yield process


@contextmanager
def watched_agent(
    home: Path, bundle: Path, *, python: str = sys.executable, public_key: Path | None = None, sensor: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], Watchdog]]:
    """The same, and how long it leaves its watchdog without a sign."""
    key = "" if public_key is None else f'\npublic_key = "{public_key}"'
    (home / "agent.toml").write_text(
        f'[device]\nid = "figures"\n[bundle]\npath = "{bundle}"{key}\n[storage]\nstate_dir = "state"\n'
        f"[sensor]\n{sensor}\n"
    )
    (home / "spool").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (home / "log").open("wb") as log:
        ready.bind(str(home / "notify"))
        ready.settimeout(START_TIMEOUT_S)
        process = subprocess.Popen(
            [python, "-m", "edge_agent.cli", "run", str(home / "agent.toml")],
            cwd=ROOT,
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(home / "notify"),
                "PYTHONPATH": str(ROOT),
                "WATCHDOG_USEC": str(WATCHDOG_USEC),
            },
            stderr=log,
        )
        try:
            while b"READY=1" not in ready.recv(4096):
                continue
            ready.settimeout(None)
            yield process, Watchdog(ready)
        except TimeoutError:
            raise SystemExit(f"error: the agent did not start: {(home / 'log').read_text()[-500:]}") from None
        finally:
            process.kill()
            process.wait()
