"""The process around the device's loop: owns the threads, the sockets, the timers and the lock.

One thread owns all state. The MQTT thread and the signal handlers only put events into the queue.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from edge_agent.boot import accepted_variant, open_agent
from edge_agent.config import AgentConfig
from edge_agent.loop import DeviceLoop
from edge_agent.pipeline import Pipeline
from edge_agent.recovery import DATABASE, Safekeeping, open_store, set_aside
from edge_agent.runtime import open_runtime
from edge_agent.sensors.spool import Spool
from edge_agent.store import SQLiteStore
from headway.errors import ConfigError, StoreError
from headway.mqtt import MqttTransport
from headway.notify import Notifier
from headway.ports import Clock, Transport, TransportEvent
from headway.topics import device_subscriptions

log = logging.getLogger("edge-agent")

ONCE_ACK_WAIT_S = 10.0
WAIT_MAX_S = 1.0
CONDITION_BYTES = 400


class Daemon:
    """One agent process, from its configuration to its last commit."""

    def __init__(self, config: AgentConfig, clock: Clock, build_transport: Callable[..., Transport] = MqttTransport):
        self._clock = clock
        self._lock = _lock(config.state_dir)
        safekeeping = Safekeeping(config.state_dir)
        store = open_store(config.state_dir)
        variant = accepted_variant(config, store)
        timer = clock if config.prefer == "fast" else None
        pipeline = Pipeline(variant, open_runtime(variant, timer))
        agent = open_agent(config, variant, store, witness=safekeeping.witness())
        self._loop = DeviceLoop(config, clock, variant, pipeline, store, agent, Spool(config.sensor))
        self._loop.keeper.safekeeping = safekeeping
        self._loop.intake.open_empty = lambda: self._open_empty(config.state_dir)
        self._events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
        self._greeting = f"device {config.device}, bundle {variant.name}, {pipeline.runtime_name}"
        if config.mqtt is not None:
            self._loop.transport = build_transport(
                config.mqtt,
                f"{config.fleet}.{config.device}",
                device_subscriptions(config.fleet, config.device),
                self._loop.last_will,
                self._events.put,
            )

    def run(self, *, once: bool = False) -> None:
        """Work until SIGTERM or SIGINT; with `once`, until the spool is empty and, if online, acknowledged."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        notifier, loop = Notifier.from_environment(), self._loop
        loop.start()
        notifier.ready()
        log.info("ready: %s", self._greeting)
        deadline_s = self._clock.monotonic_s() + ONCE_ACK_WAIT_S
        said = ""
        while not loop.stopping:
            taken = loop.turn()
            now_s = self._clock.monotonic_s()
            if once and taken:
                deadline_s = now_s + ONCE_ACK_WAIT_S
            elif once and taken is not None and (loop.settled() or now_s > deadline_s):
                break
            if loop.condition != said:
                said = loop.condition
                notifier.status(said)
                write_condition(self._lock, said)
            notifier.progress()
            self._wait(max(0.0, loop.next_poll_s - now_s))
        notifier.stopping()
        loop.stop()
        safekeeping, store = loop.keeper.safekeeping, loop.keeper.store
        if safekeeping is not None:
            safekeeping.back_up(store)
        store.close()
        os.close(self._lock)
        log.info("stopped: %d labels learned", loop.agent.learner.labels)

    def _wait(self, timeout_s: float) -> None:
        """Handle everything that arrived; block for the first event at most `timeout_s`."""
        try:
            event = self._events.get(timeout=min(timeout_s, WAIT_MAX_S))
            while True:
                self._loop.handle(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _open_empty(self, state_dir: Path) -> SQLiteStore:
        """A new database in the place of the damaged one, which is set aside."""
        self._loop.keeper.store.close()
        set_aside(state_dir / DATABASE)
        return SQLiteStore(state_dir / DATABASE)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._loop.stopping = True


def write_condition(lock: int, text: str) -> None:
    """Leave a line for ``edge-agent status`` in the lock's file: in place, so that a full disk takes it, too."""
    line = text.encode("utf-8", "replace")[:CONDITION_BYTES].ljust(CONDITION_BYTES)
    try:
        os.pwrite(lock, line, 0)
    except OSError as error:
        log.warning("cannot leave the condition for `edge-agent status`: %s", error.strerror)


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
    write_condition(descriptor, "starting")
    return descriptor
