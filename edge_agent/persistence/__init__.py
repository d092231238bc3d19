"""What lasts from one window to the next, learned beside the head and answered with while labels show that it pays.

`states`: of classes, how long they last. `errors`: of values, how much of the last error comes again. All of it is
volatile: a restart begins anew, and nothing of it is in statistics, journal or messages.
"""

from __future__ import annotations

from typing import Protocol

from edge_agent.learner import Prediction
from edge_agent.persistence.errors import LastingErrors
from edge_agent.persistence.states import LastingStates
from edge_agent.pipeline import Features
from headway.maths import Task
from headway.samples import Label

__all__ = ["Persistence", "persistence_of"]


class Persistence(Protocol):
    """Of one device. name: of what lasts, for people."""

    name: str

    @property
    def serving(self) -> bool:
        """Whether answers are others than the head's."""
        ...

    def serve(self, features: Features, served: Prediction) -> Prediction:
        """What to answer for windows that follow those of the last call, in time order. served: by the head alone."""
        ...

    def labelled(self, features: Features, label: Label) -> None:
        """The label of one window has come. One that was not among the newest tells nothing here."""
        ...


class NothingLasts:
    """Implements `Persistence`: every window is answered as the head does."""

    name = ""

    @property
    def serving(self) -> bool:
        return False

    def serve(self, features: Features, served: Prediction) -> Prediction:
        return served

    def labelled(self, features: Features, label: Label) -> None:
        """Nothing."""


def persistence_of(task: Task, enabled: bool) -> Persistence:
    """What is learned for a task; several labels per window are answered as they are."""
    if not enabled or task is Task.MULTI_LABEL:
        return NothingLasts()
    return LastingStates() if task is Task.CLASSIFICATION else LastingErrors()
