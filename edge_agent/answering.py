"""What a device tells the programs around it, and what they tell it: answers out, labels in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edge_agent.agent import Agent
from edge_agent.answers import Answers, AnswerSink, JsonlFile, MqttAnswers, UnixSocket
from edge_agent.config import AgentConfig
from edge_agent.home_assistant import HomeAssistant
from edge_agent.label_doors import BrokerLabels, LabelFiles
from headway.ports import Clock, Outgoing
from headway.wire import Kind


class Answering:
    """As `[answers]` asks. publish: sends a payload of a kind; send: a message; note: publishes an event, by name and
    in words."""

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        agent: Agent,
        publish: Callable[[Kind, bytes], int | None],
        send: Callable[[Outgoing], int | None],
        note: Callable[[str, str], None],
    ) -> None:
        settings = config.answers
        files = LabelFiles(config.sensor, clock)
        self._broker: MqttAnswers | None = None
        sinks: list[AnswerSink] = []
        if settings.file is not None:
            sinks.append(JsonlFile(settings.file, settings.file_bytes_max, settings.files_max))
        if settings.mqtt:
            answer = partial(publish, Kind.ANSWERS)
            self._broker = MqttAnswers(answer, settings.queue_max, confirmed=settings.mqtt_qos > 0)
            sinks.append(self._broker)
        if settings.socket is not None:
            sinks.append(UnixSocket(settings.socket, settings.socket_readers_max, settings.queue_max, files.take))
        if settings.http_port:
            from edge_agent.answers.http import HttpAnswers  # loads http.server

            sinks.append(HttpAnswers(settings.http_port, settings.http_token(), settings.queue_max, files.take))
        self._labels = BrokerLabels(files, note) if settings.mqtt_labels else None
        learner = agent.learner
        self._home = HomeAssistant(config, clock, learner, agent.labelling.wanted, agent.event_log, send, note)
        if settings.home_assistant:
            sinks.append(self._home)
        self.answers = Answers(settings, clock, learner, sinks, note)

    def turn(self) -> None:
        """Go on with what waits."""
        self.answers.turn()
        self._home.turn()
        if self._labels is not None:
            self._labels.turn()

    def labels_received(self, payload: bytes) -> None:
        """Labels came over the broker. Raises RemoteError when they are malformed."""
        if self._labels is not None:
            self._home.labelled(self._labels.receive(payload))

    def reconnected(self) -> None:
        """There is a new connection to the broker."""
        self._home.reconnected()
        if self._broker is not None:
            self._broker.reconnected()

    def delivered(self, token: int, *, refused: bool) -> None:
        """The broker has answered a message."""
        self._home.delivered(token, refused=refused)
        if self._broker is not None:
            self._broker.delivered(token)

    def close(self) -> None:
        """The process ends."""
        self.turn()
        self.answers.close()
