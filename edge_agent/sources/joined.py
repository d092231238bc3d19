"""The spool folder and streams behind one `Sensor`, numbered in one sequence and claimed in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_agent.sensors import Claimed, Spool
from edge_agent.sources.stream_sensor import StreamSensor
from headway.durable import Content
from headway.maths import Task
from headway.samples import Samples


class JoinedSensor:
    """A `Sensor`. Files of the spool survive a power cut, windows of the streams do not."""

    def __init__(self, spool: Spool, streams: Sequence[StreamSensor]) -> None:
        self._spool, self._streams = spool, tuple(streams)

    @property
    def unsettled(self) -> int:
        """Batches that may still come."""
        return self._spool.unsettled + sum(stream.unsettled for stream in self._streams)

    def close(self) -> None:
        """End the streams."""
        for stream in self._streams:
            stream.close()

    def recover(self, consumed: int) -> list[Claimed]:
        """What the spool still has."""
        for stream in self._streams:
            stream.start()
        return self._spool.recover(consumed)

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        """A group of files, as the spool claims them together, and a batch of each stream in turn."""
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
            idle = file is None
            for stream in self._streams:
                batch = next(stream.claim(next_sequence), None)
                if batch is not None:
                    next_sequence, idle = batch.sequence + 1, False
                    yield batch
            if idle:
                return
            if file is not None:
                files, spool_waits = self._spool.claim(next_sequence), True

    def read(
        self, file: Claimed, classes: Sequence[str], *, new_classes: bool, task: Task = Task.CLASSIFICATION
    ) -> Samples:
        """The content, from where it came."""
        stream = self._of(file)
        if stream is not None:
            return stream.read(file)
        return self._spool.read(file, classes, new_classes=new_classes, task=task)

    def answer(self, answers: Sequence[tuple[Claimed, Content]]) -> None:
        """Into the folder of answers, whatever they are answers to."""
        self._spool.answer(answers)

    def release(self, file: Claimed) -> None:
        """Forget a batch whose effects are committed."""
        (self._of(file) or self._spool).release(file)

    def reject(self, file: Claimed, reason: str) -> None:
        """Set a batch aside; windows of a stream are let go, the caller tells the reason."""
        stream = self._of(file)
        if stream is not None:
            stream.release(file)
        else:
            self._spool.reject(file, reason)

    def prune_answers(self) -> int:
        """As the spool does."""
        return self._spool.prune_answers()

    def take_notices(self) -> list[tuple[str, str]]:
        """Of all."""
        streams = (notice for stream in self._streams for notice in stream.take_notices())
        return [*self._spool.take_notices(), *streams]

    def _of(self, file: Claimed) -> StreamSensor | None:
        """The stream that a batch is of, None for a file."""
        return next((stream for stream in self._streams if stream.holds(file)), None)
