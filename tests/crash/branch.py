"""One agent process in a folder of its own: a device, or a copy of one, which has the same id."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_agent.delivery import Slots
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Pipeline
from edge_agent.startup import restore_learner
from edge_agent.store import Entry, SQLiteStore
from edge_agent.sync import SyncState
from headway.bundle import Variant, read_variant
from headway.errors import StoreError
from headway.maths import Statistics
from testbed.broker import die_with_parent
from tests.system.make_model import CLASSES

BIN = Path(sys.executable).parent
CONFIG = "agent.toml"


@dataclass
class Given:
    """A file of windows, and the labels that they are to have in the end. x: float32 (n, ...); y: int64 (n,)."""

    name: str
    x: np.ndarray
    y: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return np.array([f"{self.name}.{row}" for row in range(len(self.y))])


@dataclass
class Branch:
    """start: what it had learned when it was copied; given: what it was given itself, of which copies of it may have
    the first `shared`."""

    device: str
    folder: Path
    start: Statistics
    given: list[Given] = field(default_factory=list)
    shared: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    def run(self) -> None:
        """Start the agent."""
        command = [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(self.folder / CONFIG)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def end(self, number: signal.Signals) -> int:
        """End the agent by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
        self.process = None
        return code

    def log(self) -> str:
        """The end of what it said."""
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-8:])

    def drop(self, name: str, **arrays: np.ndarray) -> None:
        """A complete file for the agent."""
        part = self.folder / "spool" / f".{name}.npz"
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.rename(part.with_name(f"{name}.npz"))

    def feed(self, given: Given) -> None:
        """Windows with their labels."""
        self.drop(given.name, x=given.x, y=given.y, id=given.ids)
        self.given.append(given)

    def correct(self, name: str, given: Given, row: int) -> None:
        """Another label for a window that it was given before."""
        given.y[row] = (given.y[row] + 1) % len(CLASSES)
        self.drop(name, id=given.ids[row : row + 1], y=given.y[row : row + 1])

    def idle(self) -> bool:
        """Whether everything it was given is learned and acknowledged."""
        spool = self.folder / "spool"
        if any(spool.glob("*.npz")) or any((spool / "claimed").glob("*")):
            return False
        try:
            state = self.state()
        except StoreError:
            return False  # the database is being made
        return state is not None and state.acked >= state.counter

    def state(self) -> SyncState | None:
        """Where it stands with the aggregator, as last committed."""
        store = SQLiteStore(self._database, read_only=True)
        try:
            saved, journal = store.load(), store.journal()
        finally:
            store.close()
        if "sync" not in saved:
            return None
        return SyncState.decode(Entry.decode(journal[-1]).sync if journal else saved["sync"])

    def bundle(self) -> tuple[int, bool]:
        """Release of the bundle that it runs, 1 for the one that it was set up with, and whether that one stays."""
        slots = Slots(self.folder / "state", self.folder.parent / "tiny.hwb")
        return read_variant(slots.bundle).release, slots.pointer.confirmed

    def learned(self, variant: Variant) -> Statistics:
        """What its database holds."""
        learner = HeadLearner(variant, LearnerSettings())
        if not self._database.exists():  # copied before it had made one
            return Statistics.zeros(variant.training_statistics.size, variant.classes, variant.space)
        store = SQLiteStore(self._database, read_only=True)
        try:
            restore_learner(store, learner)
        finally:
            store.close()
        statistics = learner.trainer.statistics
        assert statistics is not None
        return statistics

    def own(self, variant: Variant, pipeline: Pipeline) -> Statistics:
        """Statistics of what it was given itself."""
        if not self.given:
            return Statistics.zeros(variant.training_statistics.size, variant.classes, variant.space)
        codes = pipeline.features(np.concatenate([given.x for given in self.given])).codes
        return Statistics.of(codes, np.concatenate([given.y for given in self.given]), CLASSES, variant.space)

    def image(self, folder: Path) -> Path:
        """A copy of its disk as of one moment, as a snapshot is, without files that it has not learned yet: those stay
        with this one."""
        running = self.process is not None
        if running:
            self.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        try:
            shutil.copytree(self.folder, folder)
        finally:
            if running:
                self.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        shutil.rmtree(folder / "spool")
        (folder / "spool").mkdir()
        (folder / "log").write_bytes(b"")
        return folder

    @property
    def _database(self) -> Path:
        return self.folder / "state" / "agent.sqlite"
