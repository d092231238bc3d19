"""Gives each answer to every sink once, with the names of classes, as soon as a part of a file is answered.

Work on a file may be repeated: after a kill, or because the disk refused and is back. Its numbers, of the file and of
the row, tell which answers were given before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from edge_agent.answer_settings import AnswerSettings
from edge_agent.answers.ports import AnswerSink, Given
from edge_agent.answers.smoothing import smoothing_of
from edge_agent.effects import Answer
from edge_agent.learner import FROZEN, HeadLearner
from edge_agent.sensors import Claimed
from headway.arrays import AnyArray, Float32
from headway.maths import LABEL_THRESHOLD, Task
from headway.ports import Clock
from headway.wire import WindowAnswer

FLEET = "fleet"
DIGITS = 6
NAME_CHARACTERS_MAX = 256


class Answers:
    """Of one device. note: publishes an event, by name and in words."""

    def __init__(
        self,
        settings: AnswerSettings,
        clock: Clock,
        learner: HeadLearner,
        sinks: Sequence[AnswerSink],
        note: Callable[[str, str], None],
    ) -> None:
        self._clock, self._learner, self._sinks, self._note = clock, learner, tuple(sinks), note
        self._outputs_max = settings.outputs_max
        self._smoothing = smoothing_of(settings)
        self._last = (0, -1)
        self._recovered: frozenset[int] = frozenset()
        self._told: dict[AnswerSink, int] = {}

    def recovered(self, files: Iterable[Claimed]) -> None:
        """Files that the last run had taken and did not finish: some of their answers may have been given."""
        self._recovered = frozenset(file.sequence for file in files)

    def give(self, file: Claimed, row: int, ids: Sequence[str] | None, answer: Answer) -> None:
        """The answer to the rows of a file from `row` on. ids: of all rows of the file."""
        first = row if file.sequence > self._last[0] else max(row, self._last[1] + 1)
        if file.sequence < self._last[0] or not self._sinks or first >= row + len(answer):
            return
        given = [self._given(file, at, ids, answer, at - row) for at in range(first, row + len(answer))]
        self._last = given[-1].place
        for sink in self._sinks:
            sink.take(given, again=file.sequence in self._recovered)

    def turn(self) -> None:
        """Now and then: go on with what waits, and tell what was dropped."""
        for sink in self._sinks:
            sink.turn()
            if sink.dropped != self._told.get(sink, 0):
                self._told[sink] = sink.dropped
                self._note("answers-dropped", f"{sink.dropped} answers dropped so far: {sink.problem}")

    def close(self) -> None:
        """The process ends."""
        for sink in self._sinks:
            sink.close()

    def _given(self, file: Claimed, at: int, ids: Sequence[str] | None, answer: Answer, place: int) -> Given:
        learner, outputs = self._learner, answer.probability[place]
        by_name = self._by_name(outputs)
        label = smoothed = ""
        labels: tuple[str, ...] = ()
        if learner.task is Task.CLASSIFICATION:
            label = learner.classes[int(answer.prediction[place])]
            smoothed = self._smoothing.next(label, by_name)
        elif learner.task is Task.MULTI_LABEL:
            labels = tuple(name for name, value in by_name.items() if value >= LABEL_THRESHOLD)
        head, variant = str(answer.served_by[place]), learner.variant
        version = {FROZEN: variant.release, FLEET: learner.fleet_version}.get(head, learner.labels)
        made = WindowAnswer(
            "" if ids is None else ids[at], file.name[:NAME_CHARACTERS_MAX], file.sequence, at, self._clock.wall_s(),
            learner.task, label, labels, by_name, head, version,
            variant.name, variant.version, variant.release, smoothed,
        )  # fmt: skip
        return Given(made, made.encode())

    def _by_name(self, outputs: Float32) -> Mapping[str, float]:
        """Outputs by class, the most probable first and the others left out; values all, in the model's order."""
        classes = self._learner.classes
        order: AnyArray = np.arange(len(outputs))
        if self._learner.task is not Task.REGRESSION:
            order = np.argsort(-outputs, kind="stable")[: self._outputs_max]
        return {classes[place]: round(float(outputs[place]), DIGITS) for place in order.tolist()}
