"""The shell around the agent's core: owns the threads, the sockets and the timers, and carries out effects.

One thread owns all state. The MQTT thread and the signal handlers only put events into the queue.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import platform
import queue
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np

import headway
from edge_agent.agent import Agent, Answer, LabelCounts, SyncState
from edge_agent.config import AgentConfig
from edge_agent.learner.serving import Learner
from edge_agent.learner.windows import Windows
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.sensors.spool import Spool, SpoolFile
from edge_agent.store import Changes, SQLiteStore
from headway.errors import ConfigError, DataError, RemoteError, StoreError
from headway.messages import JSON_TYPE, MESSAGE_BYTES_MAX, TENSORS_TYPE, Event, Reported, Status
from headway.mqtt import MqttTransport
from headway.notify import Notifier
from headway.ports import Clock, Connected, Delivered, Disconnected, Outgoing, Received, Transport, TransportEvent
from headway.samples import read_samples
from headway.topics import Kind, device_subscriptions, parse_topic, topic
from headway.variant import Variant, read_variant

log = logging.getLogger("edge-agent")

RETAINED = (Kind.STATUS, Kind.REPORTED, Kind.STATISTICS)
BINARY = (Kind.STATISTICS, Kind.UPDATE)
OUTBOX_ROWS_A_TURN = 20
ONCE_ACK_WAIT_S = 10.0


class Daemon:
    """One agent process, from its configuration to its last commit."""

    def __init__(self, config: AgentConfig, clock: Clock, build_transport: Callable[..., Transport] = MqttTransport):
        self._config, self._clock = config, clock
        self._lock = _lock(config.state_dir)
        self._variant = read_variant(config.bundle)
        self._pipeline = Pipeline(self._variant, open_runtime(self._variant))
        self._store = SQLiteStore(config.state_dir / "agent.sqlite")
        self._agent = open_agent(config, self._variant, self._store)
        self._spool = Spool(config.sensor)
        self._events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
        self._stopping = False
        self._connected = False
        self._problem = ""
        self._transport: Transport | None = None
        if config.mqtt is not None:
            self._transport = build_transport(
                config.mqtt,
                f"{config.fleet}.{config.device}",
                device_subscriptions(config.fleet, config.device),
                self._outgoing(Kind.STATUS, Status(False, self._agent.sync_state.boot).encode()),
                self._events.put,
            )

    def run(self, *, once: bool = False) -> None:
        """Work until SIGTERM or SIGINT; with `once`, until the spool is empty and, if online, acknowledged."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        notifier = Notifier.from_environment()
        if self._transport is not None:
            self._transport.start()
        for file in self._spool.recover(self._agent.sync_state.consumed):
            self._take_in(file)
        notifier.ready()
        log.info(
            "ready: device %s, bundle %s, %s", self._config.device, self._variant.name, self._pipeline.runtime_name
        )
        deadline_s = self._clock.monotonic_s() + ONCE_ACK_WAIT_S
        next_poll_s = 0.0
        while not self._stopping:
            now_s = self._clock.monotonic_s()
            if now_s >= next_poll_s:
                taken = self._poll_spool()
                next_poll_s = now_s + self._config.sensor.poll_interval_s
                if once and taken:
                    deadline_s = self._clock.monotonic_s() + ONCE_ACK_WAIT_S
                elif once and (self._settled() or now_s > deadline_s):
                    break
            self._sync()
            notifier.progress()
            self._wait(max(0.0, next_poll_s - self._clock.monotonic_s()))
        self._stop(notifier)

    def _wait(self, timeout_s: float) -> None:
        """Handle everything that arrived; block for the first event at most `timeout_s`."""
        try:
            event = self._events.get(timeout=min(timeout_s, 1.0))
            while True:
                self._handle(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _handle(self, event: TransportEvent) -> None:
        match event:
            case Connected():
                self._connected = True
                self._agent.reconnected()
                self._publish(Kind.STATUS, Status(True, self._agent.sync_state.boot).encode())
                self._publish(Kind.REPORTED, self._reported().encode())
            case Disconnected(reason):
                if self._connected:
                    log.warning("offline: %s", reason)
                self._connected = False
            case Received(name, payload):
                self._receive(name, payload)
            case Delivered(_, reason, refused):
                if refused:
                    self._note("publish-refused", f"broker refused a message: {reason}")

    def _receive(self, name: str, payload: bytes) -> None:
        try:
            kind = parse_topic(name).kind
            if kind is Kind.ACK:
                changes = self._agent.acknowledged(payload)
                if changes is not None:
                    self._store.commit(changes)
            elif kind is Kind.HEAD and self._agent.head_published(payload):
                self._store.commit(self._agent.changes())
                log.info("fleet head version %d is a candidate now", self._agent.learner.fleet_version)
        except RemoteError as error:
            self._note("message-refused", f"{name}: {error}")

    def _poll_spool(self) -> int:
        taken = 0
        for file in self._spool.claim(self._agent.sync_state.consumed + 1):
            self._take_in(file)
            taken += 1
            if self._stopping:
                break
        if taken:
            self._spool.prune_answers()
        return taken

    def _take_in(self, file: SpoolFile) -> None:
        """One spool file, start to end. The commit is the moment it counts; each other step can be repeated."""
        agent, limits = self._agent, self._config.sensor
        rows, size = self._store.outbox_size()
        agent.outbox_full = rows >= self._config.sync.outbox_rows_max or size >= self._config.sync.outbox_bytes_max
        try:
            too_large = self._spool.too_large(file)
            if too_large:
                raise DataError(too_large)
            samples = read_samples(
                file.path,
                agent.learner.classes,
                limits.inflated_bytes_max,
                new_classes=self._config.learner.new_classes,
                label_files=True,
            )
            features = self._pipeline.features(samples.x) if samples.x is not None and len(samples) else None
            for name in samples.names:
                agent.learner.add_class(name)
        except DataError as error:
            reason = str(error).replace(str(file.path), file.name)
            self._spool.reject(file, reason)
            self._store.commit(agent.changes(consumed=file.sequence))
            self._note("input-rejected", f"{file.name}: {reason}")
            return
        if features is not None:
            answer = agent.process(features, samples.y, samples.ids)
            self._spool.answer(file, encode_answer(answer))
        elif samples.ids is not None and samples.y is not None:
            self._report_labels(file.name, agent.label(samples.ids, samples.y))
        self._store.commit(agent.changes(consumed=file.sequence))
        self._spool.release(file)
        for event in agent.take_events(self._clock.wall_s()):
            log.info("serving %s instead of %s", event.detail["after"], event.detail["before"])
            self._publish(Kind.EVENT, event.encode())

    def _report_labels(self, name: str, counts: LabelCounts) -> None:
        log.info("%s: %s", name, counts)
        if counts.unknown:
            self._note(
                "labels-unknown",
                f"{name}: {counts.unknown} labels are for windows this device does not remember (horizon_rows)",
            )

    def _sync(self) -> None:
        now_s, agent = self._clock.monotonic_s(), self._agent
        sends = agent.due(now_s, self._connected)
        if sends:
            self._publish(Kind.REPORTED, self._reported().encode())
        for send in sends:
            self._publish(send.kind, send.payload)
        if agent.unsendable_bytes:
            self._note(
                "statistics-too-large",
                f"statistics have {agent.unsendable_bytes} bytes, a message at most {MESSAGE_BYTES_MAX}; they stay on "
                "this device. Convert the model with a smaller --expand, --pca or --select",
            )
            agent.unsendable_bytes = 0
        if not self._connected or agent.sync_state.sequence == 0:
            return
        for row in self._store.outbox(agent.outbox_position(now_s), OUTBOX_ROWS_A_TURN):
            if self._publish(Kind.UPDATE, row.payload) is None:
                return
            agent.outbox_sent(row.sequence, now_s)

    def _publish(self, kind: Kind, payload: bytes) -> int | None:
        return self._transport.publish(self._outgoing(kind, payload)) if self._transport is not None else None

    def _outgoing(self, kind: Kind, payload: bytes) -> Outgoing:
        name = topic(self._config.fleet, self._config.device, kind)
        content_type = TENSORS_TYPE if kind in BINARY else JSON_TYPE
        return Outgoing(name, payload, 1, kind in RETAINED, content_type)

    def _note(self, name: str, problem: str) -> None:
        """Tell people, here and at the aggregator, that something was refused; work goes on."""
        self._problem = problem
        log.warning("%s", problem)
        self._publish(Kind.EVENT, Event(name, {"problem": problem[:500]}, self._clock.wall_s()).encode())

    def _reported(self) -> Reported:
        learner = self._agent.learner
        return Reported(
            bundle=self._variant.name,
            bundle_version=self._variant.version,
            space=self._variant.space,
            learner=learner.kind,
            runtime=self._pipeline.runtime_name,
            agent_version=headway.__version__,
            machine=f"{platform.machine()} python {platform.python_version()}",
            labels=learner.labels,
            source=learner.serving,
            problem=self._problem[:500],
        )

    def _settled(self) -> bool:
        if self._transport is None:
            return True
        state = self._agent.sync_state
        exact_done = self._agent.learner.kind != "exact" or state.acked >= state.counter
        return exact_done and self._store.outbox_size()[0] == 0

    def _stop(self, notifier: Notifier) -> None:
        notifier.stopping()
        self._sync()
        if self._transport is not None:
            self._publish(Kind.REPORTED, self._reported().encode())
            self._publish(Kind.STATUS, Status(False, self._agent.sync_state.boot).encode())
            self._transport.stop()
        self._store.commit(self._agent.changes())
        self._store.close()
        os.close(self._lock)
        log.info("stopped: %d labels learned", self._agent.learner.labels)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def open_agent(config: AgentConfig, variant: Variant, store: SQLiteStore) -> Agent:
    """Restore the agent from its store, or begin a new history. Counts the start as a boot, durably."""
    learner = Learner(variant, config.learner)
    saved = store.load()
    if saved:
        state = SyncState.decode(saved["sync"])
        learner.restore(saved["learner"])
    else:
        state = SyncState(epoch=secrets.randbits(48))
    state.boot += 1
    windows = Windows(config.learner.horizon_rows)
    windows.restore(store.windows())
    agent = Agent(config.device, learner, config.sync, state, windows=windows)
    store.commit(Changes({"learner": learner.encode(), "sync": state.encode()}))
    return agent


def encode_answer(answer: Answer) -> bytes:
    """Predictions as ``.npz`` bytes, the same three arrays that ``replay`` writes."""
    buffer = io.BytesIO()
    np.savez(buffer, prediction=answer.prediction, probability=answer.probability, source=answer.source)
    return buffer.getvalue()


def _lock(state_dir: Path) -> int:
    """Hold the state folder for this process alone; the kernel lets go of it however the process ends."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot use state folder {state_dir}: {error.strerror}; give the agent write access"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(f"another agent is using {state_dir}; stop it or give this one its own state_dir") from error
    return descriptor
