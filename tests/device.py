"""The devices of tests: built as the service builds them, on a test's own clock, store and transport."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.labels import MachineState
from edge_agent.learner.exact import ExactTrainer
from edge_agent.learner_settings import LearnerSettings
from edge_agent.loop import DeviceLoop
from edge_agent.sensors import Sensor, Spool, WindowFormat
from edge_agent.startup import Opened, build_device, open_agent
from edge_agent.store import Backup, SQLiteStore, Store, open_store
from headway.maths import Statistics
from headway.ports import Clock, Outgoing, Transport
from headway.wire import Event, Kind, parse_topic
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows


@dataclass
class ManualClock:
    """Time moves only when told to. Implements `headway.ports.Clock`."""

    now_s: float = 100.0
    wall: float = 1.8e9

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.wall


@dataclass
class RecordingTransport:
    """Keeps what is published. Implements `headway.ports.Transport`."""

    sent: list[Outgoing] = field(default_factory=list)

    def start(self) -> None:
        return

    def publish(self, message: Outgoing) -> int:
        self.sent.append(message)
        return len(self.sent)

    def stop(self) -> None:
        return

    def of(self, kind: Kind) -> list[bytes]:
        """Payloads of one kind of message, in order."""
        return [message.payload for message in self.sent if parse_topic(message.topic).kind is kind]

    @property
    def events(self) -> list[Event]:
        return [Event.decode(payload) for payload in self.of(Kind.EVENT)]

    @property
    def event_names(self) -> list[str]:
        return [event.name for event in self.events]


def open_device(
    config: AgentConfig,
    clock: Clock,
    store: Store,
    *,
    transport: Transport | None = None,
    backup: Backup | None = None,
    sensor: Sensor | None = None,
    machine_state: MachineState | None = None,
    folder: Path | None = None,
) -> DeviceLoop:
    """Of the small test variant, not started. transport: None works offline. sensor: by default the spool.

    folder: for what is kept of files that are not finished.
    """
    ack_record = (0, 0) if backup is None else backup.ack_record()
    agent = open_agent(config, variant(), store, ack_record=ack_record)
    return build_device(
        config,
        clock,
        Opened(variant(), pipeline(), store, backup, agent),
        sensor or Spool(config.sensor, taken=WindowFormat.of(variant())),
        connect=None if transport is None else lambda last_will: transport,
        machine_state=machine_state,
        folder=folder,
    )


class Device:
    """A device's loop on real files, with a clock of its own."""

    def __init__(self, folder: Path, state_dir: Path | None = None, kind: str = "exact") -> None:
        self.state = state_dir or folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = AgentConfig(
            device="pump",
            fleet="test",
            bundle=folder / "none.hwb",
            state_dir=self.state,
            sensor=SensorSettings(folder / "spool", folder / "predictions", poll_interval_s=1.0),
            learner=LearnerSettings(kind=kind, update_labels=4),
            sync=SyncSettings(interval_s=1.0),
        )
        self.clock = ManualClock()
        self.boot()

    def boot(self) -> None:
        self.wire = RecordingTransport()
        store, backup = open_store(self.state), Backup(self.state)
        self.loop = open_device(self.config, self.clock, store, transport=self.wire, backup=backup, folder=self.state)
        self.loop.start()

    @property
    def connection(self) -> sqlite3.Connection:
        store = self.loop.store.current
        assert isinstance(store, SQLiteStore)
        return store._connection

    @property
    def tables(self) -> Statistics:
        trainer = self.loop.agent.learner.trainer
        assert isinstance(trainer, ExactTrainer)
        return trainer.statistics

    def drop(self, name: str, count: int, seed: int) -> Statistics:
        x, y = windows(count, drift=0.8, seed=seed)
        part = self.folder / f".{name}.npz"
        np.savez(part, x=x, y=y)
        part.rename(self.folder / "spool" / f"{name}.npz")
        codes = pipeline().features(x).codes
        return Statistics.of(codes, y, CLASSES, variant().space)

    def turn(self, seconds: float = 1.0) -> None:
        self.clock.now_s += seconds
        self.loop.turn()

    def answers(self) -> set[str]:
        return {path.stem for path in (self.folder / "predictions").glob("*.npz")}

    def claimed(self) -> int:
        return len(list((self.folder / "spool" / "claimed").iterdir()))
