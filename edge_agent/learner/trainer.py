"""Defines what all trainers have in common: they take labelled codes and offer candidate heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_agent.learner_settings import LearnerSettings
from headway.arrays import AnyArray, Float32, Float64, Int8, Int64
from headway.bundle import Variant
from headway.errors import ConfigError
from headway.fields import Fields, JsonValue
from headway.maths import Head, Statistics, Task
from headway.samples import Label
from headway.wire import PublishedHead

TrainerState = tuple[dict[str, AnyArray], dict[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """A delta ready to be sent: float32 (C, d + 1) in `weights_over_unit_codes`, learned from `samples` labels."""

    base_version: int
    samples: int
    delta: Float32


class Trainer(Protocol):
    """What learns behind the gate: exact from statistics, or by gradient descent."""

    @property
    def pending(self) -> int:
        """Labels taken in since the candidates were last made."""
        ...

    def learn(self, codes: Int8, labels: AnyArray) -> None:
        """Take in labelled samples. codes: int8 (n, d); labels: int64 (n,) in 0..C-1, or targets float32 (n, C)."""
        ...

    @property
    def labels(self) -> int:
        """Labels taken in so far; the number the next one gets."""
        ...

    @property
    def label_counts(self) -> Int64 | None:
        """Labels of each class, int64 (C,); None for a trainer that does not count them."""
        ...

    @property
    def statistics(self) -> Statistics | None:
        """Sums over every label this device learned, to the bit; None for a trainer that keeps none."""
        ...

    @property
    def prior_statistics(self) -> Statistics | None:
        """Sums of other devices that it started from; None without any."""
        ...

    @property
    def prior_samples(self) -> int:
        """Samples in `prior_statistics`, which are costly to make where features are many."""
        ...

    @property
    def wants_prior(self) -> bool:
        """Whether statistics of other devices may still help: labels of its own are few."""
        ...

    @property
    def finishes_update(self) -> bool:
        """Whether `take_update` gives one after the next label."""
        ...

    @property
    def refused_steps(self) -> int:
        """Gradient steps that were not finite and changed nothing."""
        ...

    def correct(self, number: int, code: Int8, before: Label, after: Label | None) -> None:
        """Label `number` (int8 (1, d), learned as `before`) is `after` instead, or nothing."""
        ...

    def add_pseudo_label(self, code: Int8, label: int) -> None:
        """Learn a window by its own prediction: no label, not counted, not reported. code: int8 (1, d).

        Raises LocalError where this cannot be undone.
        """
        ...

    def withdraw_pseudo_label(self, code: Int8, label: int) -> None:
        """Undo `add_pseudo_label`, to the bit. Raises LocalError where it cannot."""
        ...

    def guess_windows(self, codes: Int8) -> Int64 | None:
        """Where the classes lie, by windows without a label: int64 (d + 1, C), for `adopt_window_means`.

        codes: int8 (n, d). None where that would change nothing.
        """
        ...

    def adopt_window_means(self, class_sums: Int64) -> None:
        """Begin from these sums of windows without a label, instead of any before; zeros for none.

        class_sums: int64 (d + 1, C). Not counted, not reported. Raises LocalError where this cannot be undone.
        """
        ...

    @property
    def unfinished(self) -> int:
        """Labels learned since the last update."""
        ...

    def take_update(self, *, early: bool = False) -> PendingUpdate | None:
        """What was learned since the last update, for the fleet's average; None until labels enough came in.

        early: one label is enough.
        """
        ...

    def adopt_prior(self, statistics: Statistics) -> None:
        """Start from these statistics of other devices instead of any before; only where `wants_prior`."""
        ...

    def drifted(self, since: int) -> None:
        """What was served became wrong more often from label `since` on: newer labels may count for more."""
        ...

    def with_classes(self, classes: tuple[str, ...]) -> None:
        """Go on with more classes; the known ones keep their places."""
        ...

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """Some classes have other names (old, new) from now on; they keep their places."""
        ...

    def candidates(self) -> Mapping[str, Head]:
        """Heads over codes that may serve, by name; names stay the same from call to call."""
        ...

    def leave_one_out(self) -> Mapping[str, Float64]:
        """Losses per candidate on labels it was made without, float64 (n,); empty when it cannot tell."""
        ...

    def adopt(self, published: PublishedHead) -> None:
        """The fleet has a new head."""
        ...

    def state(self) -> TrainerState:
        """Tensors and JSON values that `restore` needs to go on exactly here."""
        ...

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError on anything inconsistent."""
        ...


class ReportsStatistics:
    """What a trainer that reports statistics has to say of gradient updates: there are none."""

    @property
    def finishes_update(self) -> bool:
        return False

    @property
    def unfinished(self) -> int:
        return 0

    def take_update(self, *, early: bool = False) -> PendingUpdate | None:
        """None: statistics are reported instead."""
        return None

    @property
    def refused_steps(self) -> int:
        return 0

    def adopt(self, published: PublishedHead) -> None:
        """Nothing to do: the fleet's head is a candidate of its own."""


def learner_kind(variant: Variant, settings: LearnerSettings) -> str:
    """``exact`` or ``gradient``, as asked for or as the model wants. Raises ConfigError where they do not fit."""
    one_class = variant.task is Task.CLASSIFICATION
    if one_class and len(variant.classes) < 2:
        raise ConfigError(f"bundle {variant.name} knows one class only; there is nothing to tell apart")
    solvable = one_class or variant.targets is not None
    if settings.kind == "exact" and not solvable:
        raise ConfigError(
            f"bundle {variant.name} is a {variant.task} model without statistics of its targets; convert it again, "
            'or set kind = "gradient" or "auto"'
        )
    kind = settings.kind if settings.kind != "auto" else "exact" if solvable else "gradient"
    if settings.self_training and (kind != "exact" or not one_class):
        raise ConfigError(
            "self_training needs the exact learner of a classifier, which can undo a pseudo-label; set it to 0"
        )
    return kind
