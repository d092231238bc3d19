"""The two learners of a trial: what each bundle would serve on the same window, knowing the same labels.

In the same feature space the new bundle begins with all that the device has learned, as it would after a switch. In
another space nothing of that means anything there, and a bundle that begins anew would lose to one with fifty labels
however good it is; so both bundles begin anew, and learn the labels of the trial alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from edge_agent.learner import ChangeClasses, CorrectLabel, HeadLearner, LearnLabel, Operation, apply
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from edge_agent.trial.compared import Compared, Outputs, in_order
from headway.bundle import Variant
from headway.class_changes import ClassChanges
from headway.errors import BundleError
from headway.maths import Task
from headway.samples import Label, no_label


class Contest(Protocol):
    """Both learners. `live`, the device's own, is only ever asked."""

    def outputs(self, live: HeadLearner, old: Features, new: Features) -> Outputs:
        """What both say of one window now."""
        ...

    def keeps_features(self) -> bool:
        """Whether rows must hold features, to be learned again after a start."""
        ...

    def follow(self, live: HeadLearner, operation: Operation, new: Features | None) -> None:
        """The device has done this. new: features of a labelled window under the new bundle, None when it was not
        compared."""
        ...


def contest(live: HeadLearner, served: Variant, tried: Variant, rows: Iterable[Compared]) -> Contest:
    """served, tried: the bundle that serves and the new one; rows: labels that were compared already, oldest first.

    Raises HeadwayError when the new bundle cannot take over here.
    """
    if tried.task is not served.task or (tried.task is not Task.CLASSIFICATION and tried.classes != served.classes):
        raise BundleError(f"the new bundle is a {tried.task} model of {len(tried.classes)} outputs, not the same task")
    if tried.space == served.space:
        return _SameSpace(live, served, tried)
    return _Anew(live, served, tried, rows)


class _SameSpace:
    def __init__(self, live: HeadLearner, served: Variant, tried: Variant) -> None:
        self._served, self._tried = served, tried
        self._new = HeadLearner(tried, live.settings)
        self._new.restore(live.encode())

    def outputs(self, live: HeadLearner, old: Features, new: Features) -> Outputs:
        return _outputs(live, (self._served, live, old), (self._tried, self._new, new))

    def keeps_features(self) -> bool:
        return False

    def follow(self, live: HeadLearner, operation: Operation, new: Features | None) -> None:
        if isinstance(operation, LearnLabel):
            operation = replace(operation, takes_update=False)
            if new is not None and not np.array_equal(new.embedding, operation.features.embedding):
                operation = replace(operation, features=new, served=self._new.predict(new))
        apply(self._new, operation)


class _Anew:
    def __init__(self, live: HeadLearner, served: Variant, tried: Variant, rows: Iterable[Compared]) -> None:
        self._served, self._tried = served, tried
        self._begin(live, live.settings)
        for row in rows:
            if row.old is not None and row.new is not None and not no_label(row.label):
                self._learn(live, row.number, row.label, row.old, row.new)

    def outputs(self, live: HeadLearner, old: Features, new: Features) -> Outputs:
        return _outputs(live, (self._served, self._old, old), (self._tried, self._new, new))

    def keeps_features(self) -> bool:
        return True

    def follow(self, live: HeadLearner, operation: Operation, new: Features | None) -> None:
        if isinstance(operation, LearnLabel) and new is not None:
            self._learn(live, operation.number, operation.label, operation.features, new)
        elif isinstance(operation, CorrectLabel) and operation.number in self._rows:
            place, features, new = self._rows[operation.number]
            before, after = operation.before, operation.after
            for learner, its in ((self._old, features), (self._new, new)):
                later = None if no_label(after) else _label_of(learner, live, after)
                learner.correct(place, its, _label_of(learner, live, before), later)
            if no_label(after):
                del self._rows[operation.number]
        elif isinstance(operation, ChangeClasses):
            self._begin(live, live.settings)

    def _begin(self, live: HeadLearner, settings: LearnerSettings) -> None:
        self._old, self._new = HeadLearner(self._served, settings), HeadLearner(self._tried, settings)
        self._rows: dict[int, tuple[int, Features, Features]] = {}

    def _learn(self, live: HeadLearner, number: int, label: Label, old: Features, new: Features) -> None:
        self._rows[number] = self._new.trainer.labels, old, new
        for learner, features in ((self._old, old), (self._new, new)):
            its = _label_of(learner, live, label)
            learner.learn(features, its, learner.predict(features))


def _label_of(learner: HeadLearner, live: HeadLearner, label: Label) -> Label:
    """A label of the device as this learner numbers it: classes by the names that travel."""
    if not isinstance(label, int):
        return label
    name = live.names.wire_names[label]
    if name not in learner.names.wire_names:
        learner.change_classes(ClassChanges(add=(name,)))
    return learner.names.wire_names.index(name)


def _outputs(
    live: HeadLearner, old: tuple[Variant, HeadLearner, Features], new: tuple[Variant, HeadLearner, Features]
) -> Outputs:
    wanted = live.names.wire_names
    frozen, served = [], []
    for variant, learner, features in (old, new):
        frozen.append(in_order(variant.frozen_head.probabilities(features.embedding), variant.classes, wanted))
        served.append(in_order(learner.predict(features).probability, learner.names.wire_names, wanted))
    return Outputs(frozen[0], frozen[1], served[0], served[1])
