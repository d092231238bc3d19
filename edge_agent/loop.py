"""Runs one device: carries out every effect of the agent's decisions, in order, through protocols alone.

    what waits is taken in and committed (intake.py) -> what is due is sent to the aggregator
    the aggregator's ack -> commit that it is stored there

The daemon drives this with a real clock, disk and broker; the simulation drives it with its own, and stops it between
any two effects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from edge_agent.agent import Agent
from edge_agent.announcer import Announcer
from edge_agent.answer_draft import AnswerDraft
from edge_agent.answering import Answering
from edge_agent.attempts import Attempts
from edge_agent.condition import DeviceCondition
from edge_agent.config import AgentConfig
from edge_agent.delivery import Installer, Messenger
from edge_agent.fleet_knowledge import FLEET_KINDS, FleetKnowledge
from edge_agent.health import HealthReports
from edge_agent.intake import Intake
from edge_agent.labels import Policy, log_line
from edge_agent.news import News
from edge_agent.outgoing import outgoing
from edge_agent.pipeline import Pipeline
from edge_agent.remote import RemoteConfiguration
from edge_agent.remote_commands import Actions, RemoteCommands, gather_diagnostics
from edge_agent.reported import condition_line, reported
from edge_agent.sensors import Sensor
from edge_agent.store import RetryingStore, Store
from edge_agent.training import Training
from edge_agent.trial import Trials
from edge_agent.update_sender import send_updates
from headway.bundle import Variant
from headway.errors import RemoteError
from headway.fields import JsonValue
from headway.logs import recent_lines
from headway.ports import (
    Clock,
    Connected,
    Delivered,
    Disconnected,
    NotSubscribed,
    Outgoing,
    Received,
    Transport,
    TransportEvent,
)
from headway.stopping import StopRequest
from headway.wire import Kind, Reported, Status, parse_topic

log = logging.getLogger("edge-agent")

# beside the store
DRAFT, ATTEMPTS = "agent.answer", "agent.tries"


class DeviceLoop:
    """One device at work. Not thread-safe: one thread calls everything.

    connect: makes the connection, given what the broker publishes for this device when it breaks; None works offline.
    installer: takes bundles over the network; None takes none. replace_database: as for `Intake`. stop: hears that the
    program is to end; by default nobody can ask. folder: for what is kept of files that are not finished; by default it
    is gone with the process. notes: what the start found out, as events by name and in words.
    health: tells of the machine; None tells nothing. remote: decides about settings from afar; None takes none. trials:
    what the installer tries bundles with.
    """

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        variant: Variant,
        pipeline: Pipeline,
        store: RetryingStore,
        agent: Agent,
        sensor: Sensor,
        policy: Policy,
        *,
        connect: Callable[[Outgoing], Transport] | None = None,
        installer: Installer | None = None,
        replace_database: Callable[[Store], Store] | None = None,
        stop: StopRequest | None = None,
        folder: Path | None = None,
        health: HealthReports | None = None,
        trials: Trials | None = None,
        remote: RemoteConfiguration | None = None,
        notes: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._config, self._clock = config, clock
        self._announcer = Announcer(clock, partial(self._publish, Kind.EVENT), networked=connect is not None)
        self._pipeline, self._store, self._agent = pipeline, store, agent
        self._fleet = FleetKnowledge(config, clock, agent, store)
        self._training = Training(clock, agent, store, policy)
        self._answering = Answering(config, clock, agent, self._publish, self._send, self._announcer.note)
        self._intake = Intake(
            clock,
            pipeline,
            store,
            agent,
            sensor,
            self._training,
            self._announcer.note,
            draft=AnswerDraft(None if folder is None else folder / DRAFT, agent.learner.task),
            attempts=Attempts(None if folder is None else folder / ATTEMPTS),
            answers=self._answering.answers,
            new_classes=config.learner.new_classes,
            replace_database=replace_database,
        )
        self._stop = StopRequest() if stop is None else stop
        self._installer, self._sensor, self._health, self._remote = installer, sensor, health, remote
        self._messenger = (
            None if installer is None else Messenger(installer, clock, self._publish, self._announcer.note)
        )
        self._news = News(config, agent, store, clock, self._publish, trials)
        actions = Actions(clock, agent, self._training, self._tell_of_the_machine, self._diagnostics, installer)
        self._commands = RemoteCommands(clock, agent, store, actions, self._publish, config.sync.ack_timeout_s)
        self._connected, self._notes, self.next_poll_s = False, notes, 0.0
        self.transport = None if connect is None else connect(self.last_will)

    @property
    def agent(self) -> Agent:
        return self._agent

    @property
    def store(self) -> RetryingStore:
        return self._store

    @property
    def refused(self) -> int:
        """Messages so far that could not be used."""
        return self._announcer.messages_refused

    @property
    def stopping(self) -> bool:
        """Whether the program is to end, or to start again with another bundle; `turn` then returns soon."""
        return self._stop.requested or self.restart

    @property
    def restart(self) -> bool:
        """Whether the program is to start again: with another bundle or other settings, or because it was told to."""
        others = self._installer, self._remote, self._commands
        return any(each is not None and each.restart for each in others)

    @property
    def condition(self) -> str:
        """One line for people: what is wrong with the disk, or which head serves."""
        return condition_line(self._agent, self._store.problem, self._training.status_detail)

    @property
    def condition_in_full(self) -> DeviceCondition:
        """The same line, and everything that holds, and since when."""
        return self._announcer.condition(self.condition, self._intake.pace.figures(self._agent.learner.labels))

    @property
    def last_will(self) -> Outgoing:
        """What the broker publishes for this device when the connection breaks."""
        return outgoing(self._config, Kind.STATUS, Status(False, self._agent.sync_state.boot).encode())

    def start(self) -> None:
        """Begin connecting. What the last run had begun is finished by the first turns."""
        if self.transport is not None:
            self.transport.start()
        for name, text in self._notes:
            self._announcer.note(name, text)

    def turn(self) -> int | None:
        """One turn: take in what waits when it is time to look, then send what is due. It takes about a second at most.

        Returns how many files, or parts of one, were taken in; None before it is time, which is at `next_poll_s`.
        """
        taken, now_s = None, self._clock.monotonic_s()
        if now_s >= self.next_poll_s:
            taken = self._intake.poll(lambda: self.stopping)
            self._training.step(yields=not self._intake.busy)
            busy = self._intake.busy or self._training.busy
            self.next_poll_s = now_s if busy else now_s + self._config.sensor.poll_interval_s
            self._publish_decisions()
            self._publish_condition()
        self._answering.turn()
        for name, message in self._fleet.take_waiting():
            self._receive(name, message, True)
        self._sync()
        return taken

    def look_now(self) -> None:
        """The next turn looks whether something waits, without waiting for its time."""
        self.next_poll_s = 0.0

    def handle(self, event: TransportEvent) -> None:
        """Something came from the network."""
        match event:
            case Connected(session_present):
                self._connected = True
                self._agent.reconnected(session_present)
                self._answering.reconnected()
                if self._messenger is not None:
                    self._messenger.installer.reconnected()
                self._news.reconnected(session_present)
                self._publish(Kind.STATUS, Status(True, self._agent.sync_state.boot).encode())
                self._tell_of_the_machine()
                self._commands.reconnected()
                self._announcer.connected()
                self._publish_notices()
                self._publish(Kind.REPORTED, self._reported().encode())
                self._publish_configuration()
            case Disconnected(reason, response, code):
                self._connected = False
                self._announcer.offline(reason, response, code)
            case Received(name, payload, retain):
                self._receive(name, payload, retain)
            case Delivered(token, reason, refused, name):
                self._answering.delivered(token, refused=refused)
                self._news.delivered(token)
                if refused:
                    self._announcer.publish_refused(f"the broker refused {name or 'a message'}: {reason}")
            case NotSubscribed(name, reason):
                self._announcer.subscription_refused(f"the broker refused the subscription to {name}: {reason}")

    def stop(self) -> None:
        """Publish that the device goes offline, and commit. The store stays open."""
        self._sync()
        self._intake.close()
        self._answering.close()
        if self.transport is not None:
            self._publish(Kind.REPORTED, self._reported().encode())
            self._publish(Kind.STATUS, self.last_will.payload)
            self.transport.stop()
        self._store.commit(self._agent.checkpoint(), self._clock.monotonic_s())
        if self._store.error is not None:
            raise self._store.error

    def settled(self) -> bool:
        """Whether no file may still be written, nothing is left to learn, and the aggregator has everything."""
        if self._sensor.unsettled or not self._training.idle:
            return False
        if self.transport is None:
            return True
        state = self._agent.sync_state
        reported = state.acked >= state.counter and not (self._agent.uplink.doubtful and state.counter)
        return (self._agent.learner.kind != "exact" or reported) and self._store.outbox_size()[0] == 0

    def _receive(self, name: str, message: bytes, retain: bool) -> None:
        try:
            kind = parse_topic(name).kind
            if (payload := self._fleet.order(name, kind, message)) is None:
                return
            if self._messenger is not None and kind in (Kind.DESIRED, Kind.FILE):
                self._messenger.receive(kind, payload)
            if kind is Kind.CANDIDATE:
                self._agent.head_trial.received(payload)
            elif kind is Kind.CONFIGURATION and self._remote is not None:
                self._remote.receive(payload)
            elif kind is Kind.LABELS:
                self._answering.labels_received(payload)
            elif kind is Kind.COMMANDS:
                self._commands.receive(payload)
            elif kind is Kind.ACK:
                changes = self._agent.acknowledged(payload)
                if self._announcer.reports_refused(self._agent.refusal.words):
                    self._publish_condition()
                if changes is not None:
                    self._store.commit(changes, self._clock.monotonic_s())
                    self._store.note_acknowledged(*self._agent.epochs.acknowledged, self._clock.monotonic_s())
                self._publish_notices()
            elif kind in FLEET_KINDS:
                self._fleet.receive(name, kind, payload, retain)
        except RemoteError as error:
            self._announcer.message_refused(name, error)

    def _publish_configuration(self) -> None:
        """Which settings hold: on each connection, and when that changes."""
        if self._remote is None:
            return
        for name, problem in self._remote.take_notes():
            self._announcer.note(name, problem)
        self._publish(Kind.CONFIGURATION_STATE, self._remote.state(self._config))

    def _publish_notices(self) -> None:
        for name, problem in self._agent.take_notices():
            self._announcer.note(name, problem)

    def _publish_decisions(self) -> None:
        for event in self._agent.take_events(self._clock.wall_s()):
            log.info("%s", log_line(event))
            self._publish(Kind.EVENT, event.encode())

    def _publish_condition(self) -> None:
        """What began and what is over; and what is reported, when that is no longer true."""
        store, training = self._store, self._training
        self._publish_notices()
        paused = bool(training.status_detail and (training.obstacle or store.degraded))
        self._announcer.disk_and_learning(store.problem, training.status_detail, paused)
        if self._announcer.take_news():
            self._publish(Kind.REPORTED, self._reported().encode())
        if self._health is not None and self._connected:
            health = self._health.due(self._clock.monotonic_s(), paused)
            if health is not None:
                self._publish(Kind.HEALTH, health)

    def _sync(self) -> None:
        now_s, agent = self._clock.monotonic_s(), self._agent
        if self._store.degraded:
            return  # what is not saved must not be sent: after a power cut the numbers would be used again
        if self._messenger is not None and self._messenger.turn(now_s, self._connected):
            self._publish(Kind.REPORTED, self._reported().encode())
        if self._connected:
            self._news.tell(now_s)
        on_trial = self._installer is not None and self._installer.on_trial
        if self._remote is not None and self._remote.turn(now_s, on_trial):
            self._publish_configuration()
        self._commands.turn(self._connected, on_trial or (self._remote is not None and self._remote.on_trial))
        if self._store.degraded:
            return  # the disk refused what a command did, and nothing of it is told
        sends = agent.due(now_s, self._connected)
        if any(send.kind is Kind.METRICS for send in sends):
            self._publish(Kind.REPORTED, self._reported().encode())
        for send in sends:
            self._publish(send.kind, send.payload, retained=send.retained)
        if self._connected and (request := agent.downlink.prior_request()) is not None:
            self._publish(Kind.PRIOR_REQUEST, request)
        if problem := agent.uplink.take_unsendable():
            self._announcer.note("statistics-too-large", problem)
        if self._connected:
            send_updates(agent, self._store, partial(self._publish, Kind.UPDATE), now_s)

    def _publish(self, kind: Kind, payload: bytes, retained: bool = True) -> int | None:
        return self._send(outgoing(self._config, kind, payload, retained))

    def _send(self, message: Outgoing) -> int | None:
        return None if self.transport is None else self.transport.publish(message)

    def _reported(self) -> Reported:
        delivery = "" if self._messenger is None else self._messenger.installer.state
        return reported(self._agent.learner, self._pipeline.runtime_name, self._announcer.problem, delivery)

    def _diagnostics(self) -> dict[str, JsonValue]:
        condition = self.condition_in_full
        return gather_diagnostics(self._config, self._agent, self._store, self._reported(), condition, recent_lines())

    def _tell_of_the_machine(self) -> None:
        if self._health is not None:
            self._health.reconnected()
