"""Trains the head by gradient descent with rehearsal, and gives deltas for federated averaging.

    label -> mini-batch of it and rehearsed rows -> step(s) -> candidate for the gate

It learns classifiers, multi-label models and regressions; see headway/maths/descent.py for the step itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.gradient.rehearsal import Rehearsal
from edge_agent.learner.trainer import PendingUpdate, TrainerState
from edge_agent.learner_settings import LearnerSettings
from headway.arrays import AnyArray, Float32, Float64, Int8, Int64
from headway.bundle import (
    Variant,
    feature_energy,
    fold_frozen_head,
    head_over_codes,
    target_scale,
    weights_over_unit_codes,
)
from headway.errors import ConfigError, LocalError, StoreError
from headway.fields import Fields
from headway.maths import CODE_MAX, Descent, DescentSettings, Head, Loss, Optimizer, Statistics, Task, widened
from headway.samples import Label
from headway.wire import PublishedHead

CANDIDATE = "gradient"
# after a drift alarm: times the usual steps per label, for so many labels
HURRY, HURRIED_LABELS = 2, 64
LOSSES = {
    Task.CLASSIFICATION: (Loss.CROSS_ENTROPY,),
    Task.MULTI_LABEL: (Loss.BINARY_CROSS_ENTROPY,),
    Task.REGRESSION: (Loss.SQUARED_ERROR, Loss.HUBER),
}


class GradientTrainer:
    """Online: a few steps per label. Batch: passes over the newest labels. Scheduled: passes over all that is held.

    Each mini-batch is filled up with rehearsed rows (`Rehearsal`). Everything random comes from one saved generator.
    """

    def __init__(self, variant: Variant, settings: LearnerSettings) -> None:
        self._settings, self._task, self._classes = settings, variant.task, variant.classes
        self._scale = target_scale(variant)
        start = weights_over_unit_codes(fold_frozen_head(variant.frozen_head, variant.features), self._scale)
        self._descent = Descent(start, descent_settings(variant, settings), settings.batch_rows)
        self._fleet = self._base = start.copy()
        self._base_version = self._since_base = 0
        self._labels = 0
        # label up to which more steps are taken, since drift was seen
        self._hurried_until = 0
        self._random = np.random.default_rng(settings.seed)
        one_class = variant.task is Task.CLASSIFICATION
        self._rehearsal = Rehearsal(
            variant.buffer,
            variant.features.size,
            len(variant.classes) if one_class else 1,
            0 if one_class else len(variant.classes),
            settings.replay_rows,
            settings.training_worth,
        )
        self._waiting_codes: Int8 = np.zeros((0, variant.features.size), np.int8)
        self._waiting_labels: AnyArray = self._rehearsal.draw(0, self._random)[1]
        self._make_batch_room()

    @property
    def pending(self) -> int:
        return 0

    @property
    def labels(self) -> int:
        return self._labels

    @property
    def refused_steps(self) -> int:
        """Steps whose gradient was not finite, and which therefore changed nothing."""
        return self._descent.refused

    def learn(self, codes: Int8, labels: AnyArray) -> None:
        """codes: int8 (n, d); labels: int64 (n,) classes or float32 (n, C) targets, NaN where one is unknown."""
        for row in range(len(codes)):
            self._learn_one(codes[row : row + 1], labels[row : row + 1])

    @property
    def label_counts(self) -> Int64 | None:
        return None

    @property
    def statistics(self) -> Statistics | None:
        return None

    @property
    def prior_samples(self) -> int:
        return 0

    @property
    def prior_statistics(self) -> Statistics | None:
        return None

    @property
    def wants_prior(self) -> bool:
        return False

    @property
    def finishes_update(self) -> bool:
        return self._since_base + 1 >= self._settings.update_labels

    def correct(self, number: int, code: Int8, before: Label, after: Label | None) -> None:
        """Descent cannot take a step back, but what it rehearses is put right, and the right label is learned."""
        self._rehearsal.forget(code[0], before)
        if after is not None:
            self._learn_one(code, np.asarray(after)[None])
            self._labels -= 1  # the same label, not one more

    def drifted(self, since: int) -> None:
        """Answer drift: rehearse newer rows soon, for a while more steps per label, the learning rate as at first."""
        self._rehearsal.renew()
        self._descent.restart_decay()
        self._hurried_until = self._labels + HURRIED_LABELS

    def with_classes(self, classes: tuple[str, ...]) -> None:
        """New classes start from zero weights and nothing to rehearse."""
        more = ((0, len(classes) - len(self._classes)), (0, 0))
        self._descent = widened(self._descent, len(classes), self._settings.batch_rows)
        self._base, self._fleet = np.pad(self._base, more), np.pad(self._fleet, more)
        self._scale = np.pad(self._scale, more[0], constant_values=1.0)
        self._descent.pull_to(self._fleet)
        self._rehearsal.with_groups(len(classes))
        self._classes = classes
        self._make_batch_room()

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        names = dict(renames)
        self._classes = tuple(names.get(name, name) for name in self._classes)

    def candidates(self) -> Mapping[str, Head]:
        return {CANDIDATE: head_over_codes(self._descent.weights, self._classes, self._task.link, self._scale)}

    @property
    def unfinished(self) -> int:
        return self._since_base

    def take_update(self, *, early: bool = False) -> PendingUpdate | None:
        """The delta since the last one, once enough labels came in; the next starts where this one ends."""
        if self._since_base < (1 if early else self._settings.update_labels):
            return None
        update = PendingUpdate(self._base_version, self._since_base, self._descent.weights - self._base)
        self._base, self._since_base = self._descent.weights.copy(), 0
        return update

    def add_pseudo_label(self, code: Int8, label: int) -> None:
        raise LocalError("descent cannot undo a pseudo-label; self_training needs the exact learner")

    def withdraw_pseudo_label(self, code: Int8, label: int) -> None:
        self.add_pseudo_label(code, label)

    def guess_windows(self, codes: Int8) -> Int64 | None:
        return None

    def adopt_window_means(self, class_sums: Int64) -> None:
        raise LocalError("descent starts from weights, not from means; self_training needs the exact learner")

    def adopt_prior(self, statistics: Statistics) -> None:
        """Nothing to do: descent starts from weights, not from statistics."""

    def leave_one_out(self) -> Mapping[str, Float64]:
        """Descent has no closed form for this; the gate relies on prequential scores."""
        return {}

    def adopt(self, published: PublishedHead) -> None:
        """Move to the fleet's new average, keeping what was learned since the last update was sent."""
        if published.method != "average" or published.version <= self._base_version:
            return
        if published.head.classes != self._classes or published.head.kind is not self._task.link:
            return
        fresh = weights_over_unit_codes(published.head, self._scale)
        self._descent.move(fresh - self._base)
        self._base, self._fleet, self._base_version = fresh, fresh.copy(), published.version
        self._descent.pull_to(self._fleet)

    def state(self) -> TrainerState:
        tensors: dict[str, AnyArray] = {
            **self._descent.state(),
            **self._rehearsal.state(),
            "base": self._base,
            "fleet": self._fleet,
            "waiting_codes": self._waiting_codes,
            "waiting_labels": self._waiting_labels,
        }
        return tensors, {
            "base_version": self._base_version,
            "since_base": self._since_base,
            "labels": self._labels,
            "hurried_until": self._hurried_until,
            "random": json.dumps(self._random.bit_generator.state),
        }

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        self._descent.restore(tensors)
        self._rehearsal.restore(tensors)
        for name in ("base", "fleet"):
            saved = tensors[name]
            if saved.shape != self._base.shape or saved.dtype != np.float32 or not np.isfinite(saved).all():
                raise StoreError(f"saved tensor {name} does not fit this bundle and configuration")
        self._base, self._fleet = tensors["base"].copy(), tensors["fleet"].copy()
        codes, labels = tensors["waiting_codes"], tensors["waiting_labels"]
        if codes.shape != (len(labels), self._rehearsal.size) or labels.dtype != self._waiting_labels.dtype:
            raise StoreError("saved labels that wait for their training run are damaged")
        self._waiting_codes, self._waiting_labels = codes.copy(), labels.copy()
        self._base_version, self._since_base = values.integer("base_version"), values.integer("since_base")
        self._labels = values.integer("labels")
        self._hurried_until = values.integer("hurried_until", 0)
        self._random.bit_generator.state = json.loads(values.text("random", length_max=4096))
        self._descent.pull_to(self._fleet)
        values.finish()

    def _learn_one(self, code: Int8, label: AnyArray) -> None:
        """code: int8 (1, d); label: int64 (1,) or float32 (1, C)."""
        settings = self._settings
        self._labels += 1
        self._since_base += 1
        if settings.schedule == "online":
            hurry = HURRY if self._labels <= self._hurried_until else 1
            for _ in range(hurry * settings.steps_per_label):
                self._step(code, label)
        self._rehearsal.add(code[0], int(label[0]) if label.ndim == 1 else label[0], self._random)
        if settings.schedule == "online":
            return
        self._waiting_codes = np.concatenate([self._waiting_codes, code])
        self._waiting_labels = np.concatenate([self._waiting_labels, label])
        if len(self._waiting_codes) >= settings.train_rows:
            self._train()
            self._waiting_codes, self._waiting_labels = self._waiting_codes[:0], self._waiting_labels[:0]

    def _train(self) -> None:
        """A training run: `train_epochs` passes, half of each mini-batch fresh in batch mode, none in scheduled."""
        settings = self._settings
        if settings.schedule == "scheduled":
            none, no_label = self._waiting_codes[:0], self._waiting_labels[:0]
            for _ in range(settings.train_epochs * -(-self._rehearsal.held // settings.batch_rows)):
                self._step(none, no_label)
            return
        fresh = max(1, settings.batch_rows // 2)
        for _ in range(settings.train_epochs):
            order = self._random.permutation(len(self._waiting_codes))
            for start in range(0, len(order), fresh):
                rows = order[start : start + fresh]
                self._step(self._waiting_codes[rows], self._waiting_labels[rows])

    def _step(self, codes: Int8, labels: AnyArray) -> None:
        """One step on some rows, the mini-batch filled up with rehearsed ones."""
        drawn, drawn_labels = self._rehearsal.draw(self._settings.batch_rows - len(codes), self._random)
        fresh, count = len(codes), len(codes) + len(drawn)
        extended, targets, known = self._extended[:count], self._targets[:, :count], None
        np.multiply(codes, np.float32(1.0 / CODE_MAX), out=extended[:fresh, :-1])
        np.multiply(drawn, np.float32(1.0 / CODE_MAX), out=extended[fresh:, :-1])
        if self._task is Task.CLASSIFICATION:
            targets.fill(0.0)
            targets[labels, np.arange(fresh)] = 1.0
            targets[drawn_labels, np.arange(fresh, count)] = 1.0
        else:
            targets[:, :fresh], targets[:, fresh:] = labels.T, drawn_labels.T
            unknown = np.isnan(targets)
            targets /= self._scale[:, None]
            if unknown.any():
                targets[unknown] = 0.0
                known = np.where(unknown, np.float32(0.0), np.float32(1.0))
        self._descent.step(extended, targets, known)

    def _make_batch_room(self) -> None:
        self._extended: Float32 = np.ones((self._settings.batch_rows, self._rehearsal.size + 1), np.float32)
        self._targets: Float32 = np.zeros((len(self._classes), self._settings.batch_rows), np.float32)


def descent_settings(variant: Variant, settings: LearnerSettings) -> DescentSettings:
    """The configuration in the units of this model's features. Raises ConfigError for a loss that does not fit.

    A rate of 1 is the largest step that surely descends, 1 / L with L = curvature * E|u|^2 (Nesterov 2004); for Adam,
    whose steps have the same length in every coordinate, one that moves a score by about 1 / 4.
    """
    allowed = LOSSES[variant.task]
    loss = allowed[0] if settings.loss == "auto" else Loss(settings.loss)
    if loss not in allowed:
        raise ConfigError(f"loss {loss} does not fit a {variant.task} model; give auto, {' or '.join(allowed)}")
    optimizer, energy = Optimizer(settings.optimizer), feature_energy(variant)
    if optimizer is Optimizer.ADAM:
        unit = 0.25 / ((variant.features.size + 1) * energy) ** 0.5
    else:
        unit = 1.0 / (loss.curvature * energy)
    return DescentSettings(
        loss=loss,
        optimizer=optimizer,
        learning_rate=settings.learning_rate * unit,
        learning_rate_decay=settings.learning_rate_decay,
        momentum=settings.momentum,
        clip_norm=settings.clip_norm,
        huber_delta=settings.huber_delta,
        l2=settings.l2,
        proximal=settings.proximal,
        l2_sp=settings.l2_sp,
    )
