"""What both learners have in common: they take labelled codes and offer candidate heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headway.arrays import AnyArray, Int8, Int64
from headway.fields import Fields, JsonValue
from headway.head import Head
from headway.messages import PublishedHead

TrainerState = tuple[dict[str, AnyArray], dict[str, JsonValue]]


class Trainer(Protocol):
    """A learner behind the gate."""

    def learn(self, codes: Int8, labels: Int64) -> None:
        """Take in labelled samples. codes: int8 (n, d); labels: int64 (n,) in 0..C-1."""
        ...

    def candidates(self) -> Mapping[str, Head]:
        """Heads over codes that may serve, by name; names stay the same from call to call."""
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
