"""What is kept on a device's disk as targets: a database beside its backup, and a file of `Learner.save`.

Whatever is taken up must be fit for use: it answers, learns, corrects and is saved again.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from edge_agent import embed
from edge_agent.agent import Agent
from edge_agent.startup import open_agent
from edge_agent.store import BACKUP, DATABASE, RECOVERY, open_store
from headway.errors import StoreError
from tests.device import Device
from tests.edge_agent.variants import IdentityRuntime, pipeline, variant, windows
from tests.fuzz.mutation import mutated

VALUES = (("state", "value"), ("journal", "payload"), ("windows", "payload"), ("outbox", "payload"))
PLACE_BYTES = 2


class StateFolder:
    """The folder of an agent that has learned, remembers windows and was killed. kind: of its learner."""

    def __init__(self, kind: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix=f"fuzz-state-{kind}-"))
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)
        device = Device(self.root, kind=kind)
        x, y = windows(24, drift=0.8)
        ids = np.array([f"w{number}" for number in range(len(x))])
        later = {"x": x, "id": np.char.add(ids, "+")}
        for name, arrays in (("labels", {"x": x, "y": y, "id": ids}), ("windows", later)):
            np.savez(self.root / f".{name}.npz", **arrays)
            (self.root / f".{name}.npz").rename(self.root / "spool" / f"{name}.npz")
            device.turn()
            device.turn()
        device.loop.store.back_up()
        device.loop.store.current.close()
        self._remembered = 2 * len(x)
        self._config, self._scratch = device.config, self.root / "scratch"
        self.database, self.backup = ((device.state / name).read_bytes() for name in (DATABASE, BACKUP))
        with contextlib.closing(sqlite3.connect(device.state / DATABASE)) as held:
            self._places = [
                (table, column, number)
                for table, column in VALUES
                for (number,) in held.execute(f"SELECT rowid FROM {table} ORDER BY rowid")  # noqa: S608
            ]
            self.values = tuple(
                place.to_bytes(PLACE_BYTES, "big")
                + held.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (number,)).fetchone()[0]  # noqa: S608
                for place, (table, column, number) in enumerate(self._places)
            )

    def open_database(self, database: bytes) -> None:
        """Start on this database and the good backup."""
        self._open(database, self.backup)

    def open_backup(self, backup: bytes) -> None:
        """Start on this backup alone."""
        self._open(None, backup)

    def open_value(self, value: bytes) -> None:
        """Start on the database with one value changed, whose place is in the first bytes, and the good backup."""
        table, column, number = self._places[int.from_bytes(value[:PLACE_BYTES], "big")]
        self._open(self.database, self.backup, (f"UPDATE {table} SET {column} = ? WHERE rowid = ?",  # noqa: S608
                                                (value[PLACE_BYTES:], number)))  # fmt: skip

    def _open(self, database: bytes | None, backup: bytes, change: tuple[str, tuple[bytes, int]] | None = None) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        (self._scratch / BACKUP).write_bytes(backup)
        if database is not None:
            (self._scratch / DATABASE).write_bytes(database)
        if change is not None:
            with contextlib.closing(sqlite3.connect(self._scratch / DATABASE, isolation_level=None)) as held:
                held.execute("PRAGMA journal_mode=OFF")
                held.execute(*change)
        store = open_store(self._scratch)
        try:
            agent = open_agent(self._config, variant(), store)
            remembered = len(agent.windows)
            use(agent)
            if RECOVERY in (saved := store.load()):
                raise StoreError(f"gone on from the backup: {saved[RECOVERY].decode()}")
            if remembered < self._remembered:
                raise StoreError("a damaged window is forgotten")
        finally:
            store.close()


def use(agent: Agent) -> None:
    """Answer, learn, correct, and save."""
    x, y = windows(1, seed=5)
    agent.process(pipeline().features(x), y, ("a",))
    agent.label(("w0", "w1+"), np.array([1, 2]))
    agent.everything()


def in_place(value: bytes, others: Sequence[bytes], random: np.random.Generator) -> bytes:
    """A mutated value in the place that it had."""
    return value[:PLACE_BYTES] + mutated(value[PLACE_BYTES:], [other[PLACE_BYTES:] for other in others], random)


class SavedLearner:
    """A file of `Learner.save`."""

    def __init__(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="fuzz-learner-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        self._path = root / "state.bin"
        x, y = windows(30, drift=0.8)
        learner = _learner()
        answer = learner.observe(x[0])
        learner.learn_many(x, y).label(answer.id, 1)
        learner.save(self._path)
        self.content = self._path.read_bytes()

    def load(self, payload: bytes) -> None:
        """Go on from this file."""
        self._path.write_bytes(payload)
        learner = _learner().load(self._path)
        x, y = windows(3, seed=5)
        learner.learn_many(x, y).label("#0", 2)
        learner.observe(x[0])
        learner.save(self._path)


def _learner() -> embed.Learner:
    with mock.patch.object(embed, "open_runtime", return_value=IdentityRuntime()):
        return embed.Learner(variant())
