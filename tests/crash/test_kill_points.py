"""The power goes after each step of learning and of counting, by name; the next start makes it whole.

The real loop, spool, SQLite store, aggregator core and SQL store, in one process. After the named step everything in
memory is dropped and opened again from the disk. The table in docs/protocol.md, section 5.8, lists the same points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.core import Aggregator
from aggregator.effects import Instant
from aggregator.heads.fleet_model import FleetModel
from aggregator.policy import Policy
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from edge_agent import file_at_hand, intake
from edge_agent.answer_draft import AnswerDraft
from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.sensors.spool import Spool
from edge_agent.store.store import SQLiteStore
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics
from headway.ports import Connected, Outgoing, Received
from headway.wire.messages import PublishedHead
from tests.device import RecordingTransport, open_device
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows

FLEET, DEVICE, LABELS = "plant", "wrist-1", 12


class PowerCut(BaseException):
    """Everything stops here."""


class Cutting:
    """Passes every call on, and cuts the power after the named method has returned, the n-th time."""

    def __init__(self, inner: object, world: World) -> None:
        self._inner, self._world = inner, world

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            if name == "claim":
                return self._claimed(result)
            self._world.passed(f"{type(self._inner).__name__}.{name}")
            return result

        return call

    def _claimed(self, files: Iterator[Any]) -> Iterator[Any]:
        for file in files:
            self._world.passed("Spool.claim")
            yield file


@dataclass
class World:
    """One device and one aggregator on real disks."""

    folder: Path
    cut_after: str = ""
    cut_at: int = 1
    now_s: float = 1000.0
    down: list[Received] = field(default_factory=list)

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_800_000_000.0

    def passed(self, step: str) -> None:
        if step == self.cut_after:
            self.cut_at -= 1
            if self.cut_at == 0:
                self.cut_after = ""
                raise PowerCut(step)

    def boot_device(self) -> None:
        sensor = SensorSettings(self.folder / "spool", self.folder / "predictions", poll_interval_s=0.0)
        config = AgentConfig(DEVICE, FLEET, self.folder / "model.hwb", self.folder, sensor, sync=SyncSettings(0.1, 5.0))
        store = Cutting(SQLiteStore(self.folder / "agent.sqlite"), self)
        source = Cutting(Spool(sensor), self)
        self.wire = RecordingTransport()
        self.loop = open_device(
            config,
            self,
            store,  # type: ignore[arg-type]
            transport=self.wire,
            sensor=source,  # type: ignore[arg-type]
            folder=self.folder,
        )
        self.loop.start()
        self.loop.handle(Connected(False))

    def boot_aggregator(self) -> None:
        self.store = SqlStore(sqlite_url(self.folder))
        with self.store.transaction():
            self.core = Aggregator(FLEET, FleetModel.of(variant()), Policy(publish_interval_s=0.0), self.store)

    def drop(self, name: str, x: np.ndarray, y: np.ndarray) -> None:
        part = self.folder / "spool" / f".{name}.npz"
        part.parent.mkdir(exist_ok=True)
        np.savez(part, x=x, y=y)
        part.rename(part.with_name(f"{name}.npz"))

    def device_turn(self) -> None:
        self.now_s += 10.0
        arrived, self.down = self.down, []
        for message in arrived:
            self.loop.handle(message)
            self.passed("device heard")
        self.loop.turn()
        self.passed("device turn")

    def aggregator_turn(self) -> None:
        batch = [Received(m.topic, m.payload) for m in self.wire.sent]
        self.wire.sent.clear()
        now = Instant(self.now_s, self.wall_s())
        with self.store.transaction():
            effects = [*self.core.receive(batch, now), *self.core.tick(now)]
            self.passed("aggregator stored")
        self.passed("aggregator committed")
        self.down += [Received(e.topic, e.payload) for e in effects if isinstance(e, Outgoing)]
        self.passed("aggregator acknowledged")

    def head(self) -> PublishedHead | None:
        with self.store.transaction():
            row = self.store.head()
        return None if row is None else PublishedHead.decode(row.payload)

    def run(self, turns: int = 12) -> int:
        """Turn both until all is settled; a power cut stops both, and both start again. Returns how many cuts."""
        cuts = 0
        for _ in range(turns):
            try:
                self.device_turn()
                self.aggregator_turn()
            except PowerCut:
                cuts += 1
                self.down.clear()
                self.boot_both()
        return cuts

    def boot_both(self) -> None:
        for boot in (self.boot_device, self.boot_aggregator):
            try:
                boot()
            except PowerCut:
                boot()


KILL_POINTS: Sequence[tuple[str, str, int]] = [
    ("killed_after_claim", "Spool.claim", 2),
    ("killed_after_answer", "Spool.answer", 1),
    ("killed_after_commit", "SQLiteStore.commit", 3),
    ("killed_after_release", "Spool.release", 2),
    ("killed_after_sending", "device turn", 1),
    ("killed_after_store", "aggregator stored", 1),
    ("killed_after_aggregator_commit", "aggregator committed", 1),
    ("killed_after_ack", "aggregator acknowledged", 1),
    ("killed_after_ack_arrived", "device heard", 1),
]


@pytest.mark.parametrize(("step", "at"), [(s, n) for _, s, n in KILL_POINTS], ids=[name for name, _, _ in KILL_POINTS])
def test_killed(tmp_path: Path, step: str, at: int) -> None:
    x, y = windows(LABELS, seed=4)
    world = World(tmp_path)
    world.boot_both()
    for part in range(3):
        world.drop(f"f{part}", x[part * 4 : part * 4 + 4], y[part * 4 : part * 4 + 4])
    world.cut_after, world.cut_at = step, at
    assert world.run() == 1
    codes = pipeline().features(x).codes
    truth = Statistics.of(codes, y, CLASSES, variant().space)
    assert world.loop.agent.learner.trainer.statistics == truth  # type: ignore[union-attr]
    assert world.loop.settled()
    assert world.core.statistics == truth
    found = world.head()
    wanted = fleet_head(variant().training_statistics, truth)
    assert found is not None
    assert found.samples == LABELS
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == wanted.kernel.tobytes() + wanted.bias.tobytes()
    assert list((tmp_path / "spool").glob("*.npz")) == []
    assert len(list((tmp_path / "predictions").glob("*.npz"))) == 3


@pytest.fixture
def parts_of_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a large one."""
    monkeypatch.setattr(file_at_hand, "UNIT_ROWS", 2)
    monkeypatch.setattr(intake, "SLICE_ROWS_MAX", 2)


INSIDE_A_FILE: Sequence[tuple[str, str, int]] = [
    ("killed_after_part", "AnswerDraft.append", 2),
    ("killed_after_slice", "SQLiteStore.commit", 4),
]


@pytest.mark.parametrize(
    ("step", "at"), [(s, n) for _, s, n in INSIDE_A_FILE], ids=[name for name, _, _ in INSIDE_A_FILE]
)
def test_killed_inside_a_file(
    tmp_path: Path, parts_of_two_rows: None, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    world = World(tmp_path)
    append = AnswerDraft.append

    def then_pass(self: AnswerDraft, *part: Any) -> None:
        append(self, *part)
        world.passed("AnswerDraft.append")

    monkeypatch.setattr(AnswerDraft, "append", then_pass)
    world.boot_both()
    x, y = windows(LABELS, seed=4)
    world.drop("large", x, y)
    world.cut_after, world.cut_at = step, at
    with pytest.raises(PowerCut):
        world.device_turn()
    assert not (tmp_path / "predictions" / "large.npz").exists()
    world.boot_both()
    assert 0 < world.loop.agent.learner.labels < LABELS
    assert world.run() == 0
    assert world.loop.agent.learner.trainer.statistics == Statistics.of(  # type: ignore[union-attr]
        pipeline().features(x).codes, y, CLASSES, variant().space
    )
    assert world.loop.settled()
    with np.load(tmp_path / "predictions" / "large.npz") as answer:
        assert answer["prediction"].shape == (LABELS,)


def test_every_kill_point_is_in_the_protocol() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    for name, _, _ in (*KILL_POINTS, *INSIDE_A_FILE):
        assert f"`{name}`" in text
