"""The spool folder and a stream behind one `Sensor`, numbered in one sequence and claimed in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_agent.sensors import Claimed, Spool
from edge_agent.sources.stream_sensor import StreamSensor
from headway.durable import Content
from headway.maths import Task
from headway.samples import Samples


class JoinedSensor:
    """A `Sensor`. Files of the spool survive a power cut, windows of the stream do not."""

    def __init__(self, spool: Spool, stream: StreamSensor) -> None:
        self._spool, self._stream = spool, stream

    @property
    def unsettled(self) -> int:
        """Batches that may still come."""
        return self._spool.unsettled + self._stream.unsettled

    def close(self) -> None:
        """End the stream."""
        self._stream.close()

    def recover(self, consumed: int) -> list[Claimed]:
        """What the spool still has."""
        self._stream.start()
        return self._spool.recover(consumed)

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        """A group of files, as the spool claims them together, and a batch of windows in turn."""
        spool_waits = True
        files = self._spool.claim(next_sequence)
        while True:
            file = next(files, None) if spool_waits else None
            if file is not None:
                next_sequence = file.sequence + 1
                yield file
                if self._spool.claimed_ahead:
                    continue  # their numbers follow
            spool_waits = False
            batch = next(self._stream.claim(next_sequence), None)
            if batch is not None:
                next_sequence = batch.sequence + 1
                yield batch
            if file is None and batch is None:
                return
            if file is not None:
                files, spool_waits = self._spool.claim(next_sequence), True

    def read(
        self, file: Claimed, classes: Sequence[str], *, new_classes: bool, task: Task = Task.CLASSIFICATION
    ) -> Samples:
        """The content, from where it came."""
        if self._stream.holds(file):
            return self._stream.read(file)
        return self._spool.read(file, classes, new_classes=new_classes, task=task)

    def answer(self, answers: Sequence[tuple[Claimed, Content]]) -> None:
        """Into the folder of answers, whatever they are answers to."""
        self._spool.answer(answers)

    def release(self, file: Claimed) -> None:
        """Forget a batch whose effects are committed."""
        if self._stream.holds(file):
            self._stream.release(file)
        else:
            self._spool.release(file)

    def reject(self, file: Claimed, reason: str) -> None:
        """Set a batch aside; windows of a stream are let go, the caller tells the reason."""
        if self._stream.holds(file):
            self._stream.release(file)
        else:
            self._spool.reject(file, reason)

    def prune_answers(self) -> int:
        """As the spool does."""
        return self._spool.prune_answers()

    def take_notices(self) -> list[tuple[str, str]]:
        """Of both."""
        return [*self._spool.take_notices(), *self._stream.take_notices()]
