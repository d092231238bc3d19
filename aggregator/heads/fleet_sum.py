"""Sums the devices' statistics as integers, and computes the fleet's head from the sum (method `exact`).

Each device's statistics are cumulative, so newer ones replace the older: ``total += new - old``. Integers do not round,
so the sum is the same to the bit whatever the order, the repeats and the losses on the way, and a device can be
taken out again. Solving in one place and solving here give the same head, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable

from headway.maths import SAMPLES_MAX, Head, Statistics, fleet_head


class FleetSum:
    """The sum over all (device, epoch) pairs, in the feature space of one bundle."""

    def __init__(self, source: Statistics, shrinkage: float) -> None:
        self._source = source
        self._shrinkage = shrinkage
        self._total = Statistics.zeros(source.size, source.classes, source.space)

    @property
    def total(self) -> Statistics:
        """What the fleet learned, the source's samples not counted, classes in canonical order."""
        return self._total.with_classes(self._classes(self._total))

    @property
    def samples(self) -> int:
        """Samples that the fleet learned from."""
        return self._total.samples

    def without(self, parts: Iterable[Statistics]) -> Statistics:
        """The sum less some of what is in it, classes in canonical order."""
        rest = self._total
        for part in parts:
            rest = rest - part
        return rest.with_classes(self._classes(rest))

    def problem_with(self, new: Statistics, old: Statistics | None) -> str | None:
        """Why `new` cannot take the place of `old`; None when it can."""
        if new.space != self._source.space or new.size != self._source.size:
            return (
                f"feature space {new.space[:12]} (d={new.size}) is not the bundle's, "
                f"{self._source.space[:12]} (d={self._source.size})"
            )
        samples = self.samples + new.samples - (0 if old is None else old.samples)
        if samples + self._source.samples > SAMPLES_MAX:
            return f"the fleet would hold {samples} samples; sums stay exact up to {SAMPLES_MAX}"
        return None

    def replace(self, old: Statistics | None, new: Statistics | None) -> None:
        """Take `old` out and put `new` in; None stands for nothing."""
        if new is not None:
            self._total = self._total + new
        if old is not None:
            self._total = self._total - old
        self._total = self._total.with_classes(self._classes(self._total))

    def copy(self) -> FleetSum:
        """The same sum, which this one's changes leave as it is."""
        twin = FleetSum(self._source, self._shrinkage)
        twin.replace(None, self._total)
        return twin

    def head(self) -> Head:
        """LDA over the source and the fleet, over int8 codes."""
        return fleet_head(self._source, self.total, self._shrinkage)

    def _classes(self, statistics: Statistics) -> tuple[str, ...]:
        """The bundle's classes in their order, then the fleet's own by name: never the order of arrival."""
        return self._source.classes + tuple(sorted(_occupied(statistics) - set(self._source.classes)))


def _occupied(statistics: Statistics) -> set[str]:
    """Classes that hold samples."""
    counts = statistics.counts.tolist()
    return {name for name, count in zip(statistics.classes, counts, strict=True) if count}
