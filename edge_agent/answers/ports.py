"""Defines the protocol between a device's answers and whoever takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headway.wire import WindowAnswer


@dataclass(frozen=True, slots=True)
class Given:
    """An answer and its bytes, one line of JSON without its end."""

    answer: WindowAnswer
    payload: bytes

    @property
    def place(self) -> tuple[int, int]:
        """Sequence of its file and its row there; it grows from answer to answer."""
        return self.answer.sequence, self.answer.row


class AnswerSink(Protocol):
    """Takes answers in order. It never waits for anybody and never raises: what it cannot take it drops and counts."""

    @property
    def dropped(self) -> int:
        """Answers that nobody got, since the start."""
        ...

    @property
    def problem(self) -> str:
        """Why the last ones were dropped, in one line."""
        ...

    def take(self, answers: Sequence[Given], *, again: bool) -> None:
        """again: the last run may have given the first of them already."""
        ...

    def turn(self) -> None:
        """Now and then: go on with what waits."""
        ...

    def close(self) -> None:
        """The process ends."""
        ...
