"""Shows a device in Home Assistant: announces it, publishes its summary, and asks for one label at a time.

    answers, labels -> summary, at most one a second -> broker -> Home Assistant -> topic labels -> spool

What is retained for Home Assistant is noted on the disk first (announced.py), and taken back once it is switched off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import headway
from edge_agent.answers import Given
from edge_agent.config import AgentConfig
from edge_agent.home_assistant.announced import Announced
from edge_agent.home_assistant.asked_window import AskedWindowView
from edge_agent.home_assistant.discovery import Described, discovery_payload, discovery_topic
from edge_agent.labels import EventLog, WantedLabels
from edge_agent.learner import HeadLearner
from headway.errors import StoreError
from headway.maths import ClassificationSums, LabelSums, Task
from headway.ports import Clock, Outgoing
from headway.wire import MESSAGE_BYTES_MAX, GivenLabels, Kind, Summary, topic

PACE_S = 1.0
DRIFT_S = 86_400.0
VALUES_MAX = 32


class HomeAssistant:
    """An `AnswerSink`. Where its note of earlier topics cannot be read, nothing is announced, which is told once.

    asking: which windows people are asked about. send: publishes a message and gives its token, None without a
    connection. note: as for `Answers`.
    """

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        learner: HeadLearner,
        asking: WantedLabels,
        event_log: EventLog,
        send: Callable[[Outgoing], int | None],
        note: Callable[[str, str], None],
    ) -> None:
        self._config, self._clock, self._learner, self._event_log = config, clock, learner, event_log
        self._asking = asking
        self._send, self._note = send, note
        self._announced, self._unreadable = _announced(config)
        self._wanted = AskedWindowView(asking.choice.ranked)
        self._newest: Given | None = None
        self._labelled = ""
        self._accuracy: tuple[int, float | None] = (-1, None)
        self._sent: dict[str, bytes] = {}
        self._withdrawing: dict[int, str] = {}
        self._pending: int | None = None
        self._next_s = -math.inf
        self.dropped, self.problem = 0, ""

    def take(self, answers: Sequence[Given], *, again: bool) -> None:
        self._newest = answers[-1]
        for given in answers:
            self._wanted.add(given.answer)

    def turn(self) -> None:
        """Now and then: take back what is retained no more, announce what changed, tell the newest summary."""
        if self._announced is None:
            problem, self._unreadable = self._unreadable, ""
            if problem:
                self._note("home-assistant", problem)
            return
        try:
            self._withdraw(self._announced)
            if self._config.answers.home_assistant and self._clock.monotonic_s() >= self._next_s:
                self._next_s = self._clock.monotonic_s() + PACE_S
                self._announce(self._announced)
                self._summarise()
        except StoreError as error:
            self._note("home-assistant", str(error))

    def labelled(self, given: GivenLabels) -> None:
        """Labels came by the topic labels."""
        for label in (each for each in given.labels if each.span is None):
            self._wanted.close(label.id)
            if label.label or label.values:
                self._labelled = label.id
            elif label.id == self._labelled:
                self._labelled = ""  # was taken back
            elif label.id in self._asking.choice.ranked():
                self._asking.dismiss(label.id)  # skipped: nobody is asked about it again, whoever shows it

    def reconnected(self) -> None:
        """There is a new connection, maybe to a broker that has lost what it retained."""
        self._sent.clear()
        self._withdrawing.clear()
        self._pending = None

    def delivered(self, token: int, *, refused: bool) -> None:
        """The broker has answered a message of any kind."""
        if token == self._pending:
            self._pending = None
        name = self._withdrawing.pop(token, "")
        if name and not refused and self._announced is not None:
            try:
                self._announced.gone(name)
            except StoreError as error:
                self._note("home-assistant", str(error))

    def close(self) -> None:
        """The process ends; Home Assistant sees it by the device's status."""

    def _withdraw(self, announced: Announced) -> None:
        wanted = self._topics if self._config.answers.home_assistant else ()
        for name in announced.topics:
            if name not in wanted and name not in self._withdrawing.values():
                token = self._send(Outgoing(name, b"", retain=True))
                if token is None:
                    return
                self._withdrawing[token] = name

    def _announce(self, announced: Announced) -> None:
        payload = self._discovery
        name = self._topics[0]
        if self._sent.get(name) == payload:
            return
        if len(payload) > MESSAGE_BYTES_MAX:
            self._note("home-assistant", f"{len(payload)} bytes announce this device, more than a message may have")
            return
        announced.add(self._topics)
        if self._send(Outgoing(name, payload, retain=True)) is not None:
            self._sent[name] = payload

    def _summarise(self) -> None:
        """Once there is an answer: before, the broker retains what the last run said."""
        name = self._topics[1]
        if self._newest is None or self._pending is not None or self._topics[0] not in self._sent:
            return
        payload = self._summary(self._newest).encode()
        if self._sent.get(name) != payload:
            self._pending = self._send(Outgoing(name, payload, retain=True))
            if self._pending is not None:
                self._sent[name] = payload

    @property
    def _topics(self) -> tuple[str, str]:
        config = self._config
        discovery = discovery_topic(config.answers.home_assistant_prefix, config.fleet, config.device)
        return discovery, topic(config.fleet, config.device, Kind.SUMMARY)

    @property
    def _discovery(self) -> bytes:
        config, learner = self._config, self._learner
        classes = tuple(name for name in learner.classes if name not in learner.removed)
        variant, teachable = learner.variant, config.answers.mqtt_labels
        return discovery_payload(
            Described(
                config.fleet, config.device, learner.task, classes,
                variant.name, variant.version, headway.__version__, teachable,
            )
        )  # fmt: skip

    def _summary(self, given: Given) -> Summary:
        answer, wall_s = given.answer, self._clock.wall_s()
        alarm_s = self._event_log.last_drift_s
        is_class = answer.task == Task.CLASSIFICATION
        return Summary(
            prediction=answer.smoothed or answer.label or ", ".join(answer.labels),
            probability=answer.outputs.get(answer.label) if is_class else None,
            values=tuple(answer.outputs.values())[:VALUES_MAX] if answer.task == Task.REGRESSION else (),
            accuracy=self._recent_accuracy(),
            labels=self._learner.labels,
            head=answer.head,
            drift=alarm_s is not None and wall_s - alarm_s < DRIFT_S,
            wanted=self._wanted.now(wall_s) if is_class and self._config.answers.mqtt_labels else None,
            labelled=self._labelled,
        )

    def _recent_accuracy(self) -> float | None:
        """Anew after new labels alone: it is a sum over many rows."""
        if self._accuracy[0] != self._learner.labels:
            self._accuracy = self._learner.labels, _accuracy(self._learner)
        return self._accuracy[1]


def _announced(config: AgentConfig) -> tuple[Announced | None, str]:
    """And why it cannot be read."""
    try:
        return Announced(config.state_dir), ""
    except StoreError as error:
        return None, f"{error}; nothing is announced to Home Assistant until it is repaired or removed"


def _accuracy(learner: HeadLearner) -> float | None:
    sums = learner.recent_sums
    share = math.nan
    if isinstance(sums, ClassificationSums):
        share = sums.accuracy
    elif isinstance(sums, LabelSums):
        share = sums.label_accuracy
    return None if math.isnan(share) else round(share, 4)
