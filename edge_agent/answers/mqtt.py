"""Publishes answers on the device's topic, some at a time, so that the aggregator's messages always get through."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from edge_agent.answers.ports import Given
from headway.wire import MESSAGE_BYTES_MAX

# messages that the broker has not confirmed; the aggregator's have the rest of what a connection may have
UNCONFIRMED_MAX = 16
# in one go, of those that nobody confirms
BATCH_MAX = 64


class MqttAnswers:
    """An `AnswerSink`. publish: sends a payload and gives its token, None without a connection. queue_max: answers that
    wait. confirmed: whether the broker confirms each."""

    def __init__(self, publish: Callable[[bytes], int | None], queue_max: int, *, confirmed: bool) -> None:
        self._publish, self._queue_max, self._confirmed = publish, queue_max, confirmed
        self._waiting: deque[bytes] = deque()
        self._tokens: set[int] = set()
        self.dropped, self.problem = 0, ""

    def take(self, answers: Sequence[Given], *, again: bool) -> None:
        fitting = [given.payload for given in answers if len(given.payload) <= MESSAGE_BYTES_MAX]
        if len(fitting) < len(answers):
            self.dropped += len(answers) - len(fitting)
            self.problem = f"an answer has more than {MESSAGE_BYTES_MAX} bytes (outputs_max)"
        self._waiting.extend(fitting)
        self.turn()
        while len(self._waiting) > self._queue_max:
            self._waiting.popleft()
            self.dropped += 1
            self.problem = f"more than {self._queue_max} wait for the broker (queue_max)"

    def turn(self) -> None:
        for _ in range(UNCONFIRMED_MAX - len(self._tokens) if self._confirmed else BATCH_MAX):
            if not self._waiting:
                return
            token = self._publish(self._waiting[0])
            if token is None:
                return
            self._waiting.popleft()
            if self._confirmed:
                self._tokens.add(token)

    def delivered(self, token: int) -> None:
        """The broker has confirmed a message of any kind."""
        self._tokens.discard(token)

    def reconnected(self) -> None:
        """What was not confirmed is confirmed by nobody any more."""
        self._tokens.clear()

    def close(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()
