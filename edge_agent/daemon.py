"""Runs the device's loop as a process: owns the threads, the sockets, the timers and the lock.

One thread owns all state. The MQTT thread only puts events into the queue; signals are heard by a `StopRequest`, which
outlives this process's daemons (headway/stopping.py).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import queue
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_agent.condition import CONDITION_BYTES, CONDITION_FILE_BYTES, LOCK, DeviceCondition
from edge_agent.config import AgentConfig
from edge_agent.delivery import Installer, SelfTest, Slots, file_sha256, selftest
from edge_agent.health import HealthReports, LinuxMachineHealth
from edge_agent.reloading import ReloadRequest
from edge_agent.remote import RemoteConfiguration
from edge_agent.sensors import FolderWatch
from edge_agent.sources import JoinedSensor, build_sensor
from edge_agent.startup import InferenceFailed, Opened, build_device, give_back_startup_memory, open_bundle
from edge_agent.status_file import StatusFile, live_status
from edge_agent.store import StandbyStore
from edge_agent.trial import Shadow, Subprocess, Trials
from headway.arrays import return_freed_memory
from headway.bundle import Variant, read_public_key, read_variant
from headway.errors import ConfigError, HeadwayError, StoreError
from headway.mqtt.transport import MqttTransport
from headway.ports import Clock, Outgoing, Transport, TransportEvent
from headway.sd_notify import SystemdNotifier
from headway.stopping import StopRequest
from headway.wire import device_subscriptions

log = logging.getLogger("edge-agent")

ONCE_ACK_WAIT_S = 10.0
WAIT_MAX_S = 1.0
# for events from the network, between two turns
EVENTS_S = 0.5
# between two looks of people; what is new is shown at once
CONDITION_INTERVAL_S = 10.0
# between two moments at which freed memory goes back to the system
FREED_INTERVAL_S = 600.0


class Daemon:
    """One run of the agent, from its configuration to its last commit.

    stop: hears that the process is to end, also before and after this run; by default nobody can ask. remote: decides
    about settings from afar, which `config` holds; None takes none. reload: hears that the file is to be read again.
    """

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        build_transport: Callable[..., Transport] = MqttTransport,
        stop: StopRequest | None = None,
        remote: RemoteConfiguration | None = None,
        reload: ReloadRequest | None = None,
    ) -> None:
        self._reload = reload
        self._clock, self._stop = clock, StopRequest() if stop is None else stop
        self._config = config
        self._restart = self._appeared = False
        self._lock = _lock(config.state_dir)
        self._remote = remote
        try:
            self._build(config, build_transport)
            self._status = StatusFile(config.status_dir, config.device)
        except BaseException:
            os.close(self._lock)  # or this process could not start with another configuration
            raise

    def _build(self, config: AgentConfig, build_transport: Callable[..., Transport]) -> None:
        clock = self._clock
        self._slots = Slots(config.state_dir, config.bundle)
        opened = open_bundle(config, self._slots, clock)
        self._agent = opened.agent
        self._standby = opened.store if isinstance(opened.store, StandbyStore) else None
        # None only wakes who waits; a signal handler may put it, because this queue's `put` is reentrant. And it must:
        # up to Python 3.12 an interrupted `get` waits for ever, if its time is over when the handler returns
        self._events: queue.SimpleQueue[TransportEvent | None] = queue.SimpleQueue()
        self._stop.wake_with(lambda: self._events.put(None))
        if self._reload is not None:
            self._reload.wake_with(lambda: self._events.put(None))
        self._greeting = f"device {config.device}, bundle {opened.variant.name}, {opened.pipeline.runtime_name}"
        self._trials = self._build_trials(config, opened) if config.mqtt is not None else None
        self._installer = self._build_installer(config, opened) if config.mqtt is not None else None

        def connect(last_will: Outgoing) -> Transport:
            return build_transport(
                config.mqtt,
                f"{config.fleet}.{config.device}",
                device_subscriptions(
                    config.fleet, config.device, opened.variant.space, labels=config.answers.mqtt_labels
                ),
                last_will,
                self._events.put,
            )

        self._sensor = build_sensor(config, opened.variant, clock, self._input_appeared)
        self._loop = build_device(
            config,
            clock,
            opened,
            self._sensor,
            connect=None if config.mqtt is None else connect,
            input_waits=lambda: self._appeared,
            installer=self._installer,
            stop=self._stop,
            folder=self._slots.store_dir,
            health=HealthReports(config.health, LinuxMachineHealth(config.state_dir)),
            trials=self._trials,
            remote=self._remote,
        )

    def run(self, *, once: bool = False) -> bool:
        """Work until asked to stop; with `once`, until the spool is empty and, if online, acknowledged.

        Returns True when the bundle to run has changed and a new Daemon should take over; never once asked to stop.
        """
        notifier = SystemdNotifier.from_environment()
        give_back_startup_memory()
        watch = FolderWatch(self._config.sensor.spool_dir, self._input_appeared)
        try:
            self._work(notifier, watch, once=once)
        except InferenceFailed as error:
            self._slots.roll_back(str(error))
            log.warning("the bundle on trial failed: %s", error)
            self._restart = True
        finally:
            watch.close()
        notifier.stopping()
        if isinstance(self._sensor, JoinedSensor):
            self._sensor.close()
        if self._installer is not None:
            self._installer.stop(self._clock.monotonic_s())
        try:
            self._loop.stop()
        except StoreError:
            # nothing was learned without a disk, so nothing is lost by starting again on it
            if not self._restart or self._standby is None:
                raise
        self._loop.store.back_up()
        self._loop.store.current.close()
        self._status.close()
        os.close(self._lock)
        log.info("stopped: %d labels learned", self._agent.learner.labels)
        if self._remote is not None:
            self._remote.stopped(self._clock.monotonic_s())
        return (self._restart or self._loop.restart) and not self._stop.requested

    def _work(self, notifier: SystemdNotifier, watch: FolderWatch, *, once: bool) -> None:
        loop = self._loop
        if loop.stopping:
            return
        loop.start()
        notifier.ready()
        if self._remote is not None:
            self._remote.began(self._clock.monotonic_s())
        log.info("ready: %s", self._greeting)
        deadline_s = self._clock.monotonic_s() + ONCE_ACK_WAIT_S
        told, write_at_s = loop.condition_in_full, deadline_s
        give_back_at_s = self._clock.monotonic_s() + FREED_INTERVAL_S
        self._show(told, notifier)
        while not loop.stopping:
            watch.refresh()
            if self._appeared:
                self._appeared = False
                loop.look_now()
            taken = loop.turn()
            usable = self._standby is not None and self._standby.usable
            if usable or (self._reload is not None and self._reload.accepted(self._config)):
                if not usable and self._remote is not None:
                    self._remote.read_again()
                self._restart = True
                break
            now_s = self._clock.monotonic_s()
            if once and taken:
                deadline_s = now_s + ONCE_ACK_WAIT_S
            elif once and taken is not None and (loop.settled() or now_s > deadline_s):
                break
            condition = loop.condition_in_full
            if condition.is_news_after(told) or (condition != told and now_s >= write_at_s):
                told, write_at_s = condition, now_s + CONDITION_INTERVAL_S
                self._show(told, notifier)
            if now_s >= give_back_at_s and not taken:
                return_freed_memory()
                give_back_at_s = now_s + FREED_INTERVAL_S
            notifier.progress()
            self._wait(max(0.0, loop.next_poll_s - now_s))

    def _input_appeared(self) -> None:
        if not self._appeared:
            self._appeared = True
            self._events.put(None)

    def _show(self, condition: DeviceCondition, notifier: SystemdNotifier) -> None:
        """To systemd, to ``edge-agent status``, and to those who may not look into the state folder."""
        notifier.status(condition.line)
        if self._status.wanted:
            self._status.write(live_status(self._config, self._agent, self._loop.store, condition, self._clock))
        write_condition(self._lock, condition.line, condition.encode(CONDITION_FILE_BYTES - CONDITION_BYTES))

    def _build_installer(self, config: AgentConfig, opened: Opened) -> Installer | None:
        settings, clock = config.delivery, self._clock
        if not settings.enabled:
            return None

        def start_test(bundle: Path, release_min: int) -> SelfTest:
            return selftest.Subprocess(bundle, release_min, config.public_key, settings.selftest_timeout_s, clock)

        def counted() -> tuple[int, int]:
            state = opened.agent.sync_state
            return state.boot, state.consumed

        running = opened.variant.release, opened.variant.space
        sha256 = opened.sha256 or file_sha256(self._slots.bundle)
        remote = self._remote
        return Installer(
            self._slots, settings, running, sha256, counted, start_test, clock.monotonic_s(),
            trials=self._trials, held=lambda: remote is not None and remote.on_trial,
        )  # fmt: skip

    def _build_trials(self, config: AgentConfig, opened: Opened) -> Trials | None:
        if not config.trial.enabled or not config.delivery.enabled:
            return None
        key = None if config.public_key is None else read_public_key(config.public_key)

        def read(bundle: Path) -> Variant:
            # its backbones run elsewhere
            return replace(read_variant(bundle, public_key=key), backbones=())

        def open_shadow(bundle: Path) -> Shadow:
            return Subprocess(
                bundle,
                config.public_key,
                opened.pipeline,
                self._clock,
                window_s_max=config.trial.window_s_max,
                start_s_max=config.delivery.selftest_timeout_s,
            )

        return Trials(opened.agent.trial, opened.variant, read, open_shadow, config.trial.report_interval_s)

    def _wait(self, timeout_s: float) -> None:
        """Handle what arrived, the rest after another turn; block for the first event at most `timeout_s`."""
        if self._loop.stopping:
            return
        try:
            event = self._events.get(timeout=min(timeout_s, WAIT_MAX_S))
            deadline_s = self._clock.monotonic_s() + EVENTS_S
            while event is not None:
                self._loop.handle(event)
                if self._loop.stopping or self._clock.monotonic_s() >= deadline_s:
                    return
                event = self._events.get_nowait()
        except queue.Empty:
            return


def run_once(
    remote: RemoteConfiguration, clock: Clock, stop: StopRequest, *, once: bool, reload: ReloadRequest | None = None
) -> bool:
    """One run with the configuration that holds now; True when another one should follow.

    A run that does not even begin with settings on trial is followed by one without them.
    """
    config = remote.begin()
    try:
        daemon = Daemon(config, clock, stop=stop, remote=remote, reload=reload)
    except HeadwayError as error:
        if remote.failed(str(error)):
            return not stop.requested
        raise
    return daemon.run(once=once)


def write_condition(lock: int, text: str, detail: bytes = b"") -> None:
    """Leave a line for ``edge-agent status`` in the lock's file, and all that it shows behind it: in place, so that a
    full disk takes it, too."""
    line = text.encode("utf-8", "replace")[:CONDITION_BYTES].ljust(CONDITION_BYTES)
    try:
        os.pwrite(lock, (line + detail).ljust(CONDITION_FILE_BYTES), 0)
    except OSError as error:
        # a folder is locked where no file could be made, see `_lock_file`
        problem = "the state folder cannot be written" if error.errno == errno.EBADF else error.strerror
        log.warning("cannot leave the condition for `edge-agent status`: %s", problem)


def _lock(state_dir: Path) -> int:
    """Hold the state folder for this process alone; the kernel lets go of it however the process ends."""
    descriptor = _lock_file(state_dir)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(f"another agent is using {state_dir}; stop it or give this one its own state_dir") from error
    write_condition(descriptor, "starting")
    return descriptor


def _lock_file(state_dir: Path) -> int:
    """The folder's lock. On a disk that cannot be written the folder itself, or a parent that is there: no other agent
    can write to it either, but two that predict would be one too many."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(state_dir / LOCK) and not (state_dir / LOCK).is_file():
            problem = f"{LOCK} in it is not a file; delete that, an agent makes it anew"
            raise StoreError(f"cannot use state folder {state_dir}: {problem}")
        return os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC, errno.EIO):
            problem = f"cannot use state folder {state_dir}: {error.strerror}; give the agent write access"
            raise StoreError(problem) from error
        there = next(folder for folder in (state_dir, *state_dir.absolute().parents) if folder.is_dir())
        return os.open(there, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
