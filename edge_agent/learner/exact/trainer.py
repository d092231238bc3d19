"""The exact learner: integers in, one closed-form head out. Nothing is approximated; what is forgotten is chosen.

    label -> score the experts on it -> knowledge -> refit the ensemble -> pool it into one head

Two parts: `Knowledge`, the integers, and `Ensemble`, the heads and weights that a refit makes of them. Operations
change knowledge and refit; what only reads changes nothing, so that the same labels give the same bits, however often
somebody predicted in between. Between two refits the experts over all labels follow every label; the others wait.

To read from the ground up: headway/maths/statistics.py, posterior.py, then knowledge, recipes, experts, and this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.exact.conditions import Places
from edge_agent.learner.exact.experts import ServedHeads, Weights, refit
from edge_agent.learner.exact.knowledge import Knowledge
from edge_agent.learner.exact.moment import Moment
from edge_agent.learner.exact.settings import RETIRED, ExactSettings
from edge_agent.learner.trainer import ReportsStatistics, TrainerState
from headway.arrays import AnyArray, Float64, Int8, Int64
from headway.fields import Fields, JsonValue
from headway.maths import Head, Statistics, log_softmax
from headway.samples import UNLABELLED, Label, class_index

CANDIDATE = "exact"


class ExactTrainer(ReportsStatistics):
    """training: statistics of the data that the model was trained on, of at least one sample."""

    def __init__(self, training: Statistics, settings: ExactSettings | None = None) -> None:
        self._settings = settings or ExactSettings()
        self._knowledge = Knowledge(training, self._settings)
        # where the conditions have their classes, until the next refit
        self._places: Places | None = None
        self._serve({}, Weights(self._settings, {}))

    @property
    def statistics(self) -> Statistics:
        """Everything this device was taught, exactly; pseudo-labels excepted."""
        return self._knowledge.local

    @property
    def label_counts(self) -> Int64 | None:
        return self._knowledge.label_counts

    @property
    def pending(self) -> int:
        """Labels learned since the last refit, without those taken back."""
        return sum(label != UNLABELLED for _, label in self._knowledge.waiting)

    @property
    def labels(self) -> int:
        """Labels learned so far; the number the next one gets."""
        return self._knowledge.labels

    @property
    def wants_prior(self) -> bool:
        return self._knowledge.few

    @property
    def prior_samples(self) -> int:
        return self._knowledge.prior.fleet_samples

    @property
    def prior_statistics(self) -> Statistics | None:
        """Those of other devices that the prior counts besides the training data's, if there are any."""
        return self._knowledge.prior.fleet

    @property
    def pseudo_labels(self) -> int:
        """Pseudo-labels learned and not withdrawn."""
        return len(self._knowledge.pseudo_labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those that are known, as statistics name them."""
        return self._knowledge.buckets.classes

    def learn(self, codes: Int8, labels: Int64) -> None:
        """As every trainer does. A label of -1 is one that was taken back: it has its number, and nothing else."""
        knowledge, settings = self._knowledge, self._settings
        for code, label in zip(codes, labels.tolist(), strict=True):
            solved_from = knowledge.buckets.labels
            if label != UNLABELLED and not settings.few(solved_from):
                self._served.score(code, label)
            turned = self._see_condition(code, label)
            knowledge.add(code, label)
            if turned or len(knowledge.waiting) >= settings.refit_interval(len(code), solved_from):
                self._fold()
            elif label != UNLABELLED:
                self._served.follow(code, label)

    def correct(self, number: int, code: Int8, before: Label, after: Label | None) -> None:
        """Statistics change to the bit as if it had been so; evidence begins after it, and nothing is learned again."""
        self._fold()
        self._knowledge.begin_evidence_after(number, code)
        self._knowledge.buckets.change(number, code, class_index(before), None if after is None else class_index(after))
        self._refit()

    def change(self, number: int, code: Int8, before: int, after: int) -> None:
        """The same of a label too old to go back to, -1 for none; of the evidence only its row is gone."""
        self._knowledge.change(number, code, before, None if after == UNLABELLED else after)
        self._refit()

    def moment(self) -> Moment:
        """Where it stands."""
        return Moment(self._knowledge.copy(), self._served.ensemble.solved.temperatures, self._served.weights)

    def go_back(self, moment: Moment) -> None:
        """Stand where it stood then; the moment may be gone back to again. Pseudo-labels stay as they are."""
        classes, self._knowledge = self.classes, moment.knowledge.copy()
        if self._knowledge.guesses:  # they may be of classes that came later
            self._knowledge.with_classes(classes)
        self._serve(moment.temperatures, moment.weights)

    def add_pseudo_label(self, code: Int8, label: int) -> None:
        """Learn a window by what was predicted for it; it counts as no label. code: int8 (1, d)."""
        if self._knowledge.pseudo_labels.add(code, label):
            self._refit()

    def withdraw_pseudo_label(self, code: Int8, label: int) -> None:
        """Undo `add_pseudo_label`, to the bit."""
        if self._knowledge.pseudo_labels.withdraw(code, label):
            self._refit()

    def guess_windows(self, codes: Int8) -> Int64 | None:
        """Changes nothing."""
        sums = self._knowledge.guess_windows(codes)
        return None if np.array_equal(sums, self._knowledge.window_means.class_sums) else sums

    def adopt_window_means(self, class_sums: Int64) -> None:
        self._knowledge.window_means.adopt(class_sums)
        self._refit()

    def drifted(self, since: int) -> None:
        """From label `since` on things are different: look-backs that begin there or later become experts."""
        self._fold()
        self._knowledge.drifted(since)
        self._refit()

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self._knowledge.with_classes(classes)
        self._refit()

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        self._knowledge.renamed(renames)
        self._refit()

    def adopt_prior(self, statistics: Statistics) -> None:
        """Centre the prior on the training data and what other devices learned, instead of any such before.

        statistics: of at least one sample, none of which this device was taught.
        """
        self._fold()
        self._knowledge.prior.adopt(statistics)
        self._refit()

    def candidates(self) -> Mapping[str, Head]:
        return {CANDIDATE: self._served.head}

    def leave_one_out(self) -> Mapping[str, Float64]:
        losses = self._served.ensemble.left_out_losses
        return {} if losses is None else {CANDIDATE: losses}

    def left_out(self) -> Float64 | None:
        """Log-probabilities of the newest labels but those that wait, by the pool solved without each, float64 (n, C).

        None where none were left out at the last refit.
        """
        solved, weights = self._served.ensemble.solved, self._served.ensemble.weights
        if not solved.shared_rows:
            return None
        logs = [each[-solved.shared_rows :] for each in solved.left_out.values()]
        return log_softmax(np.tensordot(weights.of(tuple(solved.left_out)), np.array(logs), axes=1))

    @property
    def few(self) -> bool:
        """See `ExactSettings.few`."""
        return self._knowledge.few

    def state(self) -> TrainerState:
        tensors, values = self._knowledge.state()
        return tensors, {**values, **_judged(self._served.ensemble.solved.temperatures, self._served.weights)}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        self._knowledge.restore(tensors, values)
        self._serve(*self._judgement(values))
        values.finish()

    def moment_state(self, moment: Moment) -> TrainerState:
        """As `state`, of an earlier moment, to be saved beside it: what both hold is saved once."""
        tensors, values = moment.knowledge.state_beside(self._knowledge)
        return tensors, {**values, **_judged(moment.temperatures, moment.weights)}

    def moment_restored(self, tensors: Mapping[str, AnyArray], values: Fields) -> Moment:
        """Inverse of `moment_state`, after `restore`. Raises StoreError."""
        moment = Moment(self._knowledge.restored_beside(tensors, values), *self._judgement(values))
        values.finish()
        return moment

    def _see_condition(self, code: Int8, label: int) -> bool:
        """Whether another condition holds from this label on, or a new one has to begin. code: int8 (d,)."""
        knowledge = self._knowledge
        if label == UNLABELLED or len(code) > self._settings.condition_features_max:
            knowledge.conditions.skip()
            return False
        if self._places is None:
            solved, centre = self._served.ensemble.solved, knowledge.prior.centre
            self._places = knowledge.conditions.places(knowledge.buckets.everything, centre, solved.condition)
        return knowledge.conditions.see(code, label, self.labels, self._places)

    def _judgement(self, values: Fields) -> tuple[dict[str, float], Weights]:
        """Inverse of `_judged`."""
        temperatures, weights = values.table("temperatures"), values.table("weights")
        names = [*(recipe.name for recipe in self._settings.recipes), *RETIRED]
        fitted = {name: temperatures.number(name, low=0.0) for name in names if temperatures.has(name)}
        logs = {name: weights.number(name) for name in names if weights.has(name)}
        for table in (temperatures, weights):
            table.finish()
        for name in RETIRED:
            fitted.pop(name, None)
            logs.pop(name, None)
        return fitted, Weights(self._settings, logs)

    def _fold(self) -> None:
        """Labels that wait become part of every expert."""
        if not self._knowledge.waiting:
            return
        calibrations = self._settings.calibrations
        before = calibrations(self._knowledge.buckets.labels)
        self._knowledge.fold()
        self._refit(calibrate=calibrations(self.labels) != before)

    def _refit(self, calibrate: bool = False) -> None:
        temperatures, weights = self._served.ensemble.solved.temperatures, self._served.weights
        covered = self._knowledge.admit_drift_experts_if_covered()
        self._serve(temperatures, weights, calibrate=calibrate or covered, judge=covered)

    def _serve(
        self, temperatures: Mapping[str, float], weights: Weights, calibrate: bool = False, judge: bool = False
    ) -> None:
        """The one place in which heads become others, and all that was made of the old ones is dropped."""
        ensemble = refit(self._knowledge, self._settings, temperatures, weights, calibrate=calibrate, judge=judge)
        self._served, self._places = ServedHeads(ensemble, self._settings), None
        for code, label in self._knowledge.waiting:
            if label != UNLABELLED:
                self._served.follow(code, label)


def _judged(temperatures: Mapping[str, float], weights: Weights) -> dict[str, JsonValue]:
    fitted: dict[str, JsonValue] = dict(temperatures)
    logs: dict[str, JsonValue] = dict(weights.logs)
    return {"temperatures": fitted, "weights": logs}
