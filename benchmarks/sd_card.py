"""Bytes that learning one labelled sample writes to the disk: `python -m benchmarks.sd_card [--folder DIR]`.

    journal   what the agent does: one entry per commit, a checkpoint of changed pieces now and then
    whole     the simple way, and the peer here: the whole learner in each commit

Counted by the kernel: write_bytes of /proc/self/io, which is whole 4 KB pages, over commits of one and of sixteen
samples, SQLite's write-ahead log and its checkpoints into the database included, the file system's own journal not.
The learner has 32 full time buckets before counting begins.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks.stream import Stream
from edge_agent.agent import Agent
from edge_agent.store import Changes, SQLiteStore


class Committing(Protocol):
    """What the benchmarks need of a store."""

    def commit(self, changes: Changes) -> None: ...

    def close(self) -> None: ...


Open = Callable[[Path], Committing]
Made = Callable[[Agent], Changes]
SIZE, CLASSES = 65, 10
WARM_UP, SAMPLES = 2200, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure (default: the system's)")
    folder = parser.parse_args().folder
    stream = Stream(SIZE, CLASSES)
    print(f"d = {SIZE}, {CLASSES} classes, {SAMPLES} labelled samples after {WARM_UP}")
    print(f"{'':<10}{'samples/commit':>15}{'bytes/sample':>14}{'state, bytes':>14}")
    for rows in (1, 16):
        found = {}
        ways: tuple[tuple[str, Open, Made], ...] = (
            ("journal", SQLiteStore, Agent.changes),
            ("whole", WholeStore, whole),
        )
        for name, open_store, changes in ways:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                found[name], size = measure(stream, Path(place) / "agent.sqlite", rows, open_store, changes)
            print(f"{name:<10}{rows:>15}{found[name]:>14.0f}{size:>14}")
        print(f"{'ratio':<10}{'':>15}{found['whole'] / found['journal']:>14.1f}")


def measure(stream: Stream, path: Path, rows: int, open_store: Open, changes: Made) -> tuple[float, int]:
    """Bytes written per sample, and the size of the database at the end."""
    store, agent = open_store(path), stream.agent()
    x, y = stream.windows(WARM_UP + SAMPLES, seed=2, drift=True)
    features = stream.features(x)
    agent.process(features.rows(0, WARM_UP), y[:WARM_UP])
    store.commit(changes(agent))
    before = written()
    for start in range(WARM_UP, WARM_UP + SAMPLES, rows):
        agent.process(features.rows(start, start + rows), y[start : start + rows])
        store.commit(changes(agent))
    store.close()
    return (written() - before) / SAMPLES, path.stat().st_size


class WholeStore:
    """The simple way's store: one table of named values, replaced in each commit."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

    def commit(self, changes: Changes) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", changes.state.items())
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def whole(agent: Agent) -> Changes:
    """Everything in one row, each time."""
    return Changes({"learner": agent.learner.encode(), "sync": agent.sync_state.encode()})


def written() -> int:
    """Bytes that this process has had written to disks."""
    os.sync()
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


if __name__ == "__main__":
    main()
