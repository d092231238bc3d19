"""Where the exact learner stood at some label: kept so that labels since can be learned anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_agent.learner.exact.experts import Weights
from edge_agent.learner.exact.knowledge import Knowledge
from headway.arrays import Int8
from headway.samples import UNLABELLED


@dataclass(frozen=True, slots=True)
class Moment:
    """knowledge: then; it shares with that of now whatever has not changed. Heads are solved from it again."""

    knowledge: Knowledge
    temperatures: Mapping[str, float]
    weights: Weights

    def change(self, number: int, code: Int8, before: int, after: int, classes: tuple[str, ...]) -> None:
        """A label that was learned before was class `after`, or -1 for none. code: int8 (1, d); classes: of now."""
        known = len(self.knowledge.buckets.classes)
        if after >= known:
            self.knowledge.with_classes(classes[: after + 1])
        self.knowledge.change(number, code, before, None if after == UNLABELLED else after)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """Some classes have other names (old, new) from now on."""
        self.knowledge.tables_renamed(renames)
