"""Real agents for figures of a device alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.interpreters import ROOT

START_TIMEOUT_S = 120.0


@contextmanager
def ready_agent(
    home: Path, bundle: Path, *, python: str = sys.executable, public_key: Path | None = None, sensor: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A running agent without a broker, its spool and predictions below `home`; READY when this returns.

    sensor: lines of its ``[sensor]`` table.
    """
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
            env={**os.environ, "NOTIFY_SOCKET": str(home / "notify"), "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
        try:
            while b"READY=1" not in ready.recv(4096):
                continue
            yield process
        except TimeoutError:
            raise SystemExit(f"error: the agent did not start: {(home / 'log').read_text()[-500:]}") from None
        finally:
            process.kill()
            process.wait()
