"""The exact learner for regressions and for several labels per window: integers in, one closed-form head out.

    label -> score the experts on it -> knowledge -> solve the experts -> pool them into one head

As exact/trainer.py, whose numbers hold here too; a target is part of its row of statistics
(headway/maths/target_codes.py), so that sums, journal, reports and removal are those of a classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.exact import ExactSettings, Weights
from edge_agent.learner.targets.experts import NOT_CALIBRATED, Calibration, ServedTargets
from edge_agent.learner.targets.knowledge import TargetKnowledge
from edge_agent.learner.targets.recipes import RECIPES, SHIPPED, Model, centres_of
from edge_agent.learner.trainer import ReportsStatistics, TrainerState
from headway.arrays import AnyArray, Float32, Float64, Int8, Int64
from headway.bundle import Variant, fold_frozen_head
from headway.errors import ConfigError, LocalError, StoreError
from headway.fields import Fields, JsonValue
from headway.maths import Head, Statistics, TargetPrior
from headway.samples import Label

CANDIDATE = "exact"


class TargetTrainer(ReportsStatistics):
    """Raises ConfigError for a bundle without statistics of targets."""

    def __init__(self, variant: Variant, settings: ExactSettings | None = None) -> None:
        if variant.targets is None or not variant.training_statistics.samples:
            raise ConfigError(f"bundle {variant.name} has no statistics of targets; convert the model again")
        self._settings = settings or ExactSettings()
        shipped = fold_frozen_head(variant.frozen_head, variant.features)
        self._model = Model(variant.targets, variant.classes, variant.features.size, shipped)
        self._knowledge = TargetKnowledge(variant.training_statistics, self._settings)
        self._prior = self._centre()
        self._serve(NOT_CALIBRATED, Weights(self._settings, {}))

    @property
    def statistics(self) -> Statistics:
        """Everything this device was taught, exactly."""
        return self._knowledge.local

    @property
    def pending(self) -> int:
        """Labels learned since the last refit."""
        return len(self._knowledge.waiting)

    @property
    def labels(self) -> int:
        """Labels learned so far; the number the next one gets."""
        return self._knowledge.labels

    @property
    def label_counts(self) -> None:
        """None: targets have no classes."""
        return None

    @property
    def wants_prior(self) -> bool:
        return self._knowledge.few

    @property
    def prior_samples(self) -> int:
        return 0 if self._knowledge.fleet is None else self._knowledge.fleet.samples

    @property
    def prior_statistics(self) -> Statistics | None:
        """Those of other devices that the prior counts besides the training data's, if there are any."""
        return self._knowledge.fleet

    def learn(self, codes: Int8, labels: Float32) -> None:
        knowledge, settings = self._knowledge, self._settings
        for row in self._model.codes.rows(codes, labels)[:, None]:
            solved_from = knowledge.buckets.labels
            if not settings.few(solved_from):
                self._served.score(row)
            knowledge.add(row[0])
            whole = bool(row[0, -self._model.codes.outputs :].all())
            # an expert follows a whole row; of another it is solved
            if len(knowledge.waiting) >= settings.refit_interval(self._model.size, solved_from) or not whole:
                self._fold()
            else:
                self._served.follow(row)

    def correct(self, number: int, code: Int8, before: Label, after: Label | None) -> None:
        """Statistics change to the bit as if it had been so."""
        self._fold()
        changed = None if after is None else self._row(code, after)
        self._knowledge.change(number, self._row(code, before), changed)
        self._refit()

    def add_pseudo_label(self, code: Int8, label: int) -> None:
        raise LocalError("targets have no pseudo-labels: nothing tells how sure a value is")

    def withdraw_pseudo_label(self, code: Int8, label: int) -> None:
        raise LocalError("targets have no pseudo-labels")

    def guess_windows(self, codes: Int8) -> None:
        """None: nothing tells how sure a value is."""
        return

    def adopt_window_means(self, class_sums: Int64) -> None:
        raise LocalError("targets have no pseudo-labels")

    def drifted(self, since: int) -> None:
        """From label `since` on things are different: look-backs that begin there or later become experts."""
        self._fold()
        self._knowledge.drifted(since)
        self._refit()

    def with_classes(self, classes: tuple[str, ...]) -> None:
        raise LocalError("a model of targets has the outputs it was built with")

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        raise LocalError("a model of targets has the outputs it was built with")

    def adopt_prior(self, statistics: Statistics) -> None:
        """Centre the prior on the training data and what other devices learned, instead of any such before.

        statistics: of at least one sample, none of which this device was taught.
        """
        self._fold()
        self._knowledge.adopt(statistics)
        self._prior = self._centre()
        self._refit()

    def candidates(self) -> Mapping[str, Head]:
        return {CANDIDATE: self._served.head}

    def leave_one_out(self) -> Mapping[str, Float64]:
        losses = self._served.left_out_losses
        return {} if losses is None else {CANDIDATE: losses}

    def state(self) -> TrainerState:
        tensors, values = self._knowledge.state()
        weights: dict[str, JsonValue] = dict(self._served.weights.logs)
        temperatures: dict[str, JsonValue] = dict(self._served.calibration.temperatures)
        if self._served.calibration.units is not None:
            tensors["units"] = self._served.calibration.units
        return tensors, {**values, "temperatures": temperatures, "weights": weights}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        self._knowledge.restore(tensors, values)
        self._prior = self._centre()
        temperatures, weights = values.table("temperatures"), values.table("weights")
        centres = centres_of(self._model, self._prior)
        names = [*(f"{recipe.name}-{centre}" for recipe in RECIPES for centre in centres), SHIPPED]
        fitted = {name: temperatures.number(name, low=0.0) for name in names if temperatures.has(name)}
        logs = {name: weights.number(name) for name in names if weights.has(name)}
        for table in (temperatures, weights, values):
            table.finish()
        units = tensors.get("units")
        if units is not None and (units.dtype != np.float64 or units.shape != (self._model.codes.outputs,)):
            raise StoreError("saved units of the experts' errors are damaged")
        self._serve(Calibration(fitted, units), Weights(self._settings, logs))

    def _row(self, code: Int8, label: Label) -> Int8:
        """The row of statistics of one labelled window. code: int8 (1, d) -> int8 (1, d + width)."""
        return self._model.codes.rows(code, np.asarray(label, np.float32)[None])

    def _centre(self) -> TargetPrior:
        return TargetPrior.of(self._model.codes.moments(self._knowledge.prior))

    def _fold(self) -> None:
        """Labels that wait become part of every expert."""
        if not self.pending:
            return
        calibrations = self._settings.calibrations
        before = calibrations(self.labels - self.pending)
        self._knowledge.fold()
        self._refit(calibrate=calibrations(self.labels) != before)

    def _refit(self, calibrate: bool = False) -> None:
        self._serve(self._served.calibration, self._served.weights, calibrate)

    def _serve(self, calibration: Calibration, weights: Weights, calibrate: bool = False) -> None:
        """The one place in which heads become others."""
        knowledge, settings = self._knowledge, self._settings
        self._served = ServedTargets(
            knowledge, self._model, self._prior, settings, weights, calibration, calibrate=calibrate
        )
        for row in knowledge.waiting:
            self._served.follow(row[None])
