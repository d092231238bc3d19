"""Defines the protocol between the loop and where its windows come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headway.durable import Content
from headway.maths import Task
from headway.samples import Samples


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch that is ours now. `sequence` grows with each claim; `name` is the writer's own, in printable letters.

    The sequence is never reused once its effects are committed. path: where it lies; anybody may take it away. came_s:
    when it was put there, or the oldest window of a source came, seconds since 1970; None where nobody knows.
    """

    sequence: int
    name: str
    path: Path
    came_s: float | None = field(default=None, compare=False)

    def about(self, text: str) -> str:
        """The text with the name before it, once."""
        return text if text.startswith((f"{self.name}: ", f"{self.name} ")) else f"{self.name}: {text}"


class MoreTime(Exception):
    """A batch takes longer than a moment to open; to ask for it again goes on where this ended."""


class Sensor(Protocol):
    """Gives batches one by one, keeps each until it is released, and takes the answers.

    What a method did is durable when it returns; only a release may come undone by a power cut.
    """

    @property
    def unsettled(self) -> int:
        """How many batches are not taken yet, because they may still be written."""
        ...

    def recover(self, consumed: int) -> list[Claimed]:
        """After a start: forget what is committed (sequence <= consumed), return what was claimed and is not."""
        ...

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        """Claim what waits, one at each step of the iterator, numbering from `next_sequence`."""
        ...

    def read(
        self, file: Claimed, classes: Sequence[str], *, new_classes: bool, task: Task = Task.CLASSIFICATION
    ) -> Samples:
        """The content; close it. new_classes: names not among `classes` are no mistake; task: what labels look like.

        Raises DataError; MoreTime where a look at all of it is not finished.
        """
        ...

    def answer(self, answers: Sequence[tuple[Claimed, Content]]) -> None:
        """Keep the predictions for each batch, whole or not at all; doing it again replaces them."""
        ...

    def release(self, file: Claimed) -> None:
        """Forget a batch whose effects are committed."""
        ...

    def reject(self, file: Claimed, reason: str) -> None:
        """Set a batch aside that cannot be used, with the reason in one line."""
        ...

    def prune_answers(self) -> int:
        """Keep the newest answers up to the limit; returns how many were removed."""
        ...

    def take_notices(self) -> list[tuple[str, str]]:
        """What people should know since the last call: an event's name, behind a space what it is about where there may
        be several, and a line in words."""
        ...
