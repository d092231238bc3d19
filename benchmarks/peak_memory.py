"""The most memory that a command and all processes it starts hold at once, sampled while it runs.

Proportional resident memory (PSS, ``/proc/PID/smaps_rollup``): a page that several processes share counts once in the
sum, which plain resident memory would count for each of them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class Peak:
    """total_mb: of the whole tree at its worst moment; by_process: the peak of each process by itself, in MB (10^6
    bytes), largest first, with the end of its command line; samples: how often the tree was read."""

    total_mb: float
    by_process: tuple[tuple[str, float], ...]
    samples: int
    seconds: float
    exit_code: int
    output: str


def measured(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Peak:
    """Run a command to its end and watch it."""
    start = time.perf_counter()
    process = subprocess.Popen(
        list(command), cwd=cwd, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peaks: dict[int, tuple[str, int]] = {}
    totals = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            now = {pid: memory for pid in _tree(process.pid) if (memory := _proportional(pid)) is not None}
            totals.append(sum(now.values()))
            for pid, memory in now.items():
                name, before = peaks.get(pid, (_command_line(pid), 0))
                peaks[pid] = (name, max(before, memory))
            done.wait(INTERVAL_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    processes = sorted(((name, memory / 1e6) for name, memory in peaks.values()), key=lambda each: -each[1])
    return Peak(max(totals) / 1e6, tuple(processes), len(totals) - 1, seconds, process.returncode, output)


def _tree(root: int) -> set[int]:
    """A process and all below it that are alive."""
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # "pid (name) state parent ..."; the name may hold spaces and brackets
                parents[int(entry.name)] = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _proportional(pid: int) -> int | None:
    """Bytes; None where the process has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _command_line(pid: int) -> str:
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return " ".join(part.decode(errors="replace").rsplit("/", 1)[-1] for part in parts[1:4])
