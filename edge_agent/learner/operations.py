"""Defines everything that can change a learner, as values, and the one function that carries them out.

The agent applies an operation when it happens and writes it to the journal; after a restart the same function applies
the journal's operations again, so that both ways lead to the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.learner.learner import HeadLearner
from edge_agent.learner.serving import Prediction
from edge_agent.learner.trainer import PendingUpdate
from edge_agent.pipeline import Features
from headway.arrays import Int64
from headway.class_changes import ClassChanges
from headway.samples import Label, no_label
from headway.wire import FleetPrior, PublishedHead


@dataclass(frozen=True, slots=True)
class LearnLabel:
    """Score, learn and gate one labelled window. number: the label's; served: what was answered for the window.

    label: class index, or targets float32 (C,). takes_update: it finishes an update, which goes into the outbox.
    """

    number: int
    features: Features
    label: Label
    served: Prediction
    takes_update: bool = False


@dataclass(frozen=True, slots=True)
class CorrectLabel:
    """Label `number` was `before` and is `after`; -1 or nothing but NaN for none. features: its one window.

    again: labels since are learned again; False from journals of agents that did not.
    """

    number: int
    features: Features
    before: Label
    after: Label
    again: bool = True


@dataclass(frozen=True, slots=True)
class EndUpdate:
    """What was learned since the last update goes into the outbox, though it is less than usual."""


@dataclass(frozen=True, slots=True)
class AddPseudoLabel:
    """Learn a window without a label by its own prediction, a class index."""

    features: Features
    label: int


@dataclass(frozen=True, slots=True)
class WithdrawPseudoLabel:
    """Undo `AddPseudoLabel`, to the bit: the true label has come."""

    features: Features
    label: int


@dataclass(frozen=True, slots=True)
class AdoptWindowMeans:
    """Start from where windows without a label seem to lie, instead of any such before.

    class_sums: int64 (d + 1, C), of the windows by the classes they are guessed to be; all zero for none.
    """

    class_sums: Int64


@dataclass(frozen=True, slots=True)
class AddClass:
    """Know a class more."""

    name: str


@dataclass(frozen=True, slots=True)
class ChangeClasses:
    """Rename, add and remove classes."""

    changes: ClassChanges


@dataclass(frozen=True, slots=True)
class AdoptHead:
    """Take up the fleet's new head. payload: the message as it came.

    retained: the broker gave it as the newest there is, so it may have a lower version than the one that is known.
    """

    payload: bytes
    retained: bool = False


@dataclass(frozen=True, slots=True)
class AdoptPrior:
    """Start from what other devices learned. payload: the message as it came; empty: know nothing of them any more."""

    payload: bytes


Operation = (
    LearnLabel
    | CorrectLabel
    | EndUpdate
    | AddPseudoLabel
    | WithdrawPseudoLabel
    | AdoptWindowMeans
    | AddClass
    | ChangeClasses
    | AdoptHead
    | AdoptPrior
)

# what the fleet must receive: other statistics, or other names
COUNTED = (LearnLabel, CorrectLabel, ChangeClasses)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an operation brought about. changed: False where a message from the fleet brought nothing new.

    update: what was taken out for the outbox; renames: classes (old, new) whose statistics got other names.
    """

    changed: bool = True
    update: PendingUpdate | None = None
    renames: tuple[tuple[str, str], ...] = ()


def apply(learner: HeadLearner, operation: Operation) -> Applied:
    """Change the learner: the only way to, now and when the journal is done again.

    Raises DataError for classes that cannot be changed so, RemoteError for a message that does not fit this bundle;
    the learner is then as it was.
    """
    match operation:
        case LearnLabel(_, features, label, served, takes_update):
            learner.learn(features, label, served)
            return Applied(update=learner.trainer.take_update() if takes_update else None)
        case CorrectLabel(number, features, before, after, again):
            learner.correct(number, features, before, None if no_label(after) else after, again=again)
        case EndUpdate():
            return Applied(update=learner.trainer.take_update(early=True))
        case AddPseudoLabel(features, label):
            learner.trainer.add_pseudo_label(features.codes, label)
        case WithdrawPseudoLabel(features, label):
            learner.trainer.withdraw_pseudo_label(features.codes, label)
        case AdoptWindowMeans(class_sums):
            learner.trainer.adopt_window_means(class_sums)
        case AddClass(name):
            learner.add_class(name)
        case ChangeClasses(changes):
            return Applied(renames=learner.change_classes(changes))
        case AdoptHead(payload, retained):
            head = PublishedHead.decode(payload)
            # one of another feature space is for other devices
            return Applied(changed=head.space == learner.space and learner.adopt(head, retained))
        case AdoptPrior(b""):
            return Applied(changed=learner.adopt_prior(None))
        case AdoptPrior(payload):
            return Applied(changed=learner.adopt_prior(FleetPrior.decode(payload, learner.statistics_size)))
    return Applied()
