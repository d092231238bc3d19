"""Collects why reports of a batch were refused, so that each device is told once."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.effects import Refused
from headway.errors import RemoteError
from headway.printable import printable
from headway.wire import PROBLEM_CHARACTERS_MAX

# an ordinary ack says all of the first three, and the device acts on it by itself; what is forged has no sender
UNTOLD = frozenset({"base", "gap", "removed", "forged"})


@dataclass(frozen=True, slots=True)
class RefusalAnswer:
    """Why a report was refused, in a word and in words. epoch: 0 where it could not be read."""

    epoch: int
    reason: str
    problem: str


NOT_REFUSED = RefusalAnswer(0, "", "")


class RefusalAnswers:
    """Of one batch: the newest refusal of each device."""

    def __init__(self) -> None:
        self._answers: dict[str, RefusalAnswer] = {}
        self._epoch = 0

    def begin(self) -> None:
        """Another message is looked at, of an epoch that is not known yet."""
        self._epoch = 0

    def of(self, epoch: int) -> None:
        """The message at hand is of this epoch."""
        self._epoch = epoch

    def add(self, device: str, error: RemoteError) -> None:
        """The message at hand was refused."""
        reason = error.reason if isinstance(error, Refused) else "malformed"
        if reason not in UNTOLD:
            self._answers[device] = RefusalAnswer(self._epoch, reason, printable(str(error))[:PROBLEM_CHARACTERS_MAX])

    def take(self) -> dict[str, RefusalAnswer]:
        """What is to be told, by device; once."""
        answers, self._answers = self._answers, {}
        return answers
