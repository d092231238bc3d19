"""The gradient learner: stochastic gradient descent on the head with a replay buffer, and deltas for FedAvg."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.config import LearnerSettings
from edge_agent.learner.trainer import TrainerState
from headway.arrays import AnyArray, Float32, Float64, Int8, Int64
from headway.errors import StoreError
from headway.features import CODE_MAX
from headway.fields import Fields
from headway.gradient import SoftmaxSGD, fold_frozen_head, head_over_codes, weights_over_unit_codes
from headway.head import Head
from headway.messages import PublishedHead
from headway.variant import Variant

CANDIDATE = "gradient/sgd"


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """A delta ready to be sent: float32 (C, d + 1) over codes / 127, learned from `samples` labels."""

    base_version: int
    samples: int
    delta: Float32


class GradientTrainer:
    """One SGD step per label, on that sample and a random draw from the replay buffer.

    The buffer is a class-balanced reservoir of int8 codes (Vitter 1985, algorithm R, within each class).
    """

    def __init__(self, variant: Variant, settings: LearnerSettings, seed: int = 0) -> None:
        self._settings = settings
        self._classes = variant.classes
        start = weights_over_unit_codes(fold_frozen_head(variant.head, variant.features))
        self._sgd = SoftmaxSGD(start, settings.learning_rate, settings.batch_rows)
        self._base = start.copy()
        self._base_version = 0
        self._since_base = 0
        self._random = np.random.default_rng(seed)
        per_class = max(1, settings.replay_rows // len(self._classes))
        self._replay = np.zeros((len(self._classes), per_class, variant.features.size), np.int8)
        self._seen = np.zeros(len(self._classes), np.int64)
        self.rolled_back = 0

    @property
    def pending(self) -> int:
        return 0

    def learn(self, codes: Int8, labels: Int64) -> None:
        for row, label in zip(codes, labels.tolist(), strict=True):
            drawn, drawn_labels = self._draw(self._settings.batch_rows - 1)
            batch = np.concatenate([row[None], drawn]).astype(np.float32) / np.float32(CODE_MAX)
            if not self._sgd.step(batch, np.concatenate([[label], drawn_labels])):
                self.rolled_back += 1
            self._remember(row, label)
            self._since_base += 1

    @property
    def labels(self) -> int:
        return int(self._seen.sum())

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Descent cannot take a step back: the corrected label is learned beside the wrong one."""
        if after is not None:
            self.learn(code, np.array([after], np.int64))

    def with_classes(self, classes: tuple[str, ...]) -> None:
        """New classes start from zero weights and an empty replay buffer."""
        more = len(classes) - len(self._classes)
        widen = ((0, more), (0, 0))
        self._sgd = SoftmaxSGD(
            np.pad(self._sgd.weights, widen), self._settings.learning_rate, self._settings.batch_rows
        )
        self._base = np.pad(self._base, widen)
        self._replay = np.pad(self._replay, ((0, more), (0, 0), (0, 0)))
        self._seen = np.pad(self._seen, (0, more))
        self._classes = classes

    def candidates(self) -> Mapping[str, Head]:
        return {CANDIDATE: head_over_codes(self._sgd.weights, self._classes)}

    def take_update(self) -> PendingUpdate | None:
        """The delta since the last one, once enough labels came in; the next starts where this one ends."""
        if self._since_base < self._settings.update_labels:
            return None
        update = PendingUpdate(self._base_version, self._since_base, self._sgd.weights - self._base)
        self._base, self._since_base = self._sgd.weights.copy(), 0
        return update

    def leave_one_out(self) -> Mapping[str, Float64]:
        """Descent has no closed form for this; the gate relies on prequential scores."""
        return {}

    def adopt(self, published: PublishedHead) -> None:
        """Move to the fleet's new average, keeping what was learned since the last update was sent."""
        if published.method != "average" or published.version <= self._base_version:
            return
        fresh = weights_over_unit_codes(published.head)
        if published.head.classes != self._classes or fresh.shape != self._base.shape:
            return
        self._sgd.weights += fresh - self._base
        self._base, self._base_version = fresh, published.version

    def state(self) -> TrainerState:
        tensors: dict[str, AnyArray] = {
            "weights": self._sgd.weights,
            "base": self._base,
            "replay": self._replay,
            "seen": self._seen,
        }
        return tensors, {
            "base_version": self._base_version,
            "since_base": self._since_base,
            "rolled_back": self.rolled_back,
            "random": json.dumps(self._random.bit_generator.state),
        }

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        mine, _ = self.state()
        for name, array in mine.items():
            saved = tensors.get(name)
            if saved is None or saved.shape != array.shape or saved.dtype != array.dtype:
                raise StoreError(f"saved tensor {name} does not fit this bundle and configuration")
        np.copyto(self._sgd.weights, tensors["weights"])
        self._base = tensors["base"].copy()
        self._replay, self._seen = tensors["replay"].copy(), tensors["seen"].copy()
        self._base_version, self._since_base = values.integer("base_version"), values.integer("since_base")
        self.rolled_back = values.integer("rolled_back")
        self._random.bit_generator.state = json.loads(values.text("random", length_max=4096))
        values.finish()

    def _draw(self, count: int) -> tuple[Int8, Int64]:
        held = np.minimum(self._seen, self._replay.shape[1])
        classes = np.flatnonzero(held)
        if not len(classes) or not count:
            return self._replay[0, :0], np.zeros(0, np.int64)
        labels = self._random.choice(classes, count)
        slots = (self._random.random(count) * held[labels]).astype(np.int64)
        return self._replay[labels, slots], labels.astype(np.int64)

    def _remember(self, row: Int8, label: int) -> None:
        capacity = self._replay.shape[1]
        slot = int(self._seen[label])
        if slot >= capacity:
            slot = int(self._random.integers(0, slot + 1))
        if slot < capacity:
            self._replay[label, slot] = row
        self._seen[label] += 1
