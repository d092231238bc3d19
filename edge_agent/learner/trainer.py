"""What both learners have in common: they take labelled codes and offer candidate heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from edge_agent.config import LearnerSettings
from headway.arrays import AnyArray, Float64, Int8
from headway.bundle import Variant
from headway.errors import ConfigError
from headway.fields import Fields, JsonValue
from headway.maths import Head, Task
from headway.samples import Label
from headway.wire import PublishedHead

TrainerState = tuple[dict[str, AnyArray], dict[str, JsonValue]]


class Trainer(Protocol):
    """A learner behind the gate."""

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

    def change(self, number: int, code: Int8, before: Label, after: Label | None) -> None:
        """Label `number` (int8 (1, d), taught as `before`) is `after` instead, or nothing."""
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


def learner_kind(variant: Variant, settings: LearnerSettings) -> str:
    """``exact`` or ``gradient``, as asked for or as the model wants. Raises ConfigError where they do not fit."""
    one_class = variant.task is Task.CLASSIFICATION
    if one_class and len(variant.classes) < 2:
        raise ConfigError(f"bundle {variant.name} knows one class only; there is nothing to tell apart")
    if settings.kind == "exact" and not one_class:
        raise ConfigError(f'bundle {variant.name} is a {variant.task} model; set kind = "gradient" or "auto"')
    kind = settings.kind if settings.kind != "auto" else "exact" if one_class else "gradient"
    if settings.self_training and kind != "exact":
        raise ConfigError("self_training needs the exact learner, which can undo a guess; set it to 0")
    return kind
