"""What a device tells the programs around it, and what they tell it: answers out, labels in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edge_agent.answers import Answers, AnswerSink, JsonlFile, MqttAnswers, UnixSocket
from edge_agent.config import AgentConfig
from edge_agent.label_doors import BrokerLabels, LabelFiles
from edge_agent.learner import HeadLearner
from headway.ports import Clock
from headway.wire import Kind


class Answering:
    """As `[answers]` asks. publish: sends a payload of a kind; note: publishes an event, by name and in words."""

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        learner: HeadLearner,
        publish: Callable[[Kind, bytes], int | None],
        note: Callable[[str, str], None],
    ) -> None:
        settings = config.answers
        files = LabelFiles(config.sensor, clock)
        self._broker: MqttAnswers | None = None
        sinks: list[AnswerSink] = []
        if settings.file is not None:
            sinks.append(JsonlFile(settings.file, settings.file_bytes_max, settings.files_max))
        if settings.mqtt:
            send = partial(publish, Kind.ANSWERS)
            self._broker = MqttAnswers(send, settings.queue_max, confirmed=settings.mqtt_qos > 0)
            sinks.append(self._broker)
        if settings.socket is not None:
            sinks.append(UnixSocket(settings.socket, settings.socket_readers_max, settings.queue_max, files.take))
        if settings.http_port:
            from edge_agent.answers.http import HttpAnswers  # loads http.server

            sinks.append(HttpAnswers(settings.http_port, settings.http_token(), settings.queue_max, files.take))
        self._labels = BrokerLabels(files, note) if settings.mqtt_labels else None
        self.answers = Answers(settings, clock, learner, sinks, note)

    def turn(self) -> None:
        """Go on with what waits."""
        self.answers.turn()
        if self._labels is not None:
            self._labels.turn()

    def labels_received(self, payload: bytes) -> None:
        """Labels came over the broker. Raises RemoteError when they are malformed."""
        if self._labels is not None:
            self._labels.receive(payload)

    def reconnected(self) -> None:
        """There is a new connection to the broker."""
        if self._broker is not None:
            self._broker.reconnected()

    def delivered(self, token: int) -> None:
        """The broker has confirmed a message."""
        if self._broker is not None:
            self._broker.delivered(token)

    def close(self) -> None:
        """The process ends."""
        self.turn()
        self.answers.close()
