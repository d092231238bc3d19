"""What is kept of a device's tables to compare it with others, and what an operator reads of the comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from headway.arrays import Float32, Float64

# of tables of which portraits are made together: they stay in the processor's cache
NUMBERS_TOGETHER = 1 << 17
# worth a word
SHIFT_TOLD, SPREAD_TOLD = 0.4, 3.0


@dataclass(frozen=True, slots=True)
class Portrait:
    """What is kept of a device's tables. counts: float64 (C,); means: float32 (d, C), of the bundle's classes; spread:
    along the axes that were known when it came."""

    counts: Float64
    means: Float32
    spread: float


def joined_portrait(parts: Iterable[Portrait]) -> Portrait:
    """Of a device of which there are portraits of several epochs; at least one."""
    every = [*parts]
    if len(every) == 1:
        return every[0]
    counts: Float64 = np.sum([part.counts for part in every], axis=0)
    sums = np.sum([part.means * part.counts for part in every], axis=0)
    labels = [max(float(part.counts.sum()), 1e-9) for part in every]
    spread = float(np.average([part.spread for part in every], weights=labels))
    return Portrait(counts, (sums / np.maximum(counts, 1.0)).astype(np.float32), spread)


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one device beside the others. skill: 1 where the others' head gives all its labels, 0 where it is as good as
    no head, below 0 where it is worse. near: of its classes that lie closer to another class of the others than to
    their own, the one with most samples, and that other; usual_*: the median here."""

    labels: int
    agreement: float
    skill: float
    shift: float
    spread: float
    usual_agreement: float
    usual_shift: float
    near: tuple[str, str] | None
    named: bool
    back: bool

    def words(self) -> str:
        """What an operator is told."""
        agreed = round(self.agreement * self.labels)
        said = [
            f"the others' head would give about {agreed} of its {self.labels} labels, usual here are "
            f"{self.usual_agreement:.0%}"
        ]
        if self.shift > SHIFT_TOLD:
            said.append(
                f"its classes lie {math.sqrt(self.shift):.1f} class distances from where the others have them "
                f"(usual {math.sqrt(max(self.usual_shift, 0.0)):.1f})"
            )
        if self.near is not None:
            said.append(f"what it calls {self.near[0]!r} lies where they have {self.near[1]!r}")
        if self.spread > SPREAD_TOLD:
            said.append(f"within a class its windows spread {self.spread:.1f} times as far as theirs")
        return "; ".join(said)
