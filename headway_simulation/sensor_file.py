"""What a simulated sensor drops into a spool folder: the samples of a file, and the codes of its windows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headway.arrays import Int8
from headway.samples import Samples


@dataclass(frozen=True, slots=True, eq=False)
class SensorFile:
    """A file that a sensor dropped. samples None: it is damaged; codes: int8 (n, d) of its windows."""

    name: str
    samples: Samples | None
    codes: Int8

    def part(self, start: int, stop: int | None) -> SensorFile:
        """Some of its rows, as a file of their own."""
        samples = self.samples
        if samples is None or (start == 0 and stop is None):
            return self
        rows = slice(start, stop)
        x, y = (None if given is None else given[rows] for given in (samples.x, samples.y))
        ids = None if samples.ids is None else samples.ids[rows]
        return SensorFile(f"{self.name}.{start}", replace(samples, x=x, y=y, ids=ids), self.codes[rows])
