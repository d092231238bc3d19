"""Sets devices aside whose gradient updates contradict those of the others, round after round.

    cosine   of a device's update with the sum of the others that agree, as they are weighted and shortened
             (`aggregator.heads.agreement`)
    length   of its update, in lengths at the upper quartile of the round

A round speaks against a device where its cosine lies as far below zero as three quarters of the usual, which is the
median, above it; or where its update is `LONG` times as long as usual. Rounds in which the usual update hardly agrees
with the others say nothing of angles, nor do those in which more than a third point against the others, be it all of
them or those that agree: where each device knows one class alone, all do by right. `rounds_of` rounds in a row set a
device aside, one more where four times as many devices could by chance; in as many it comes back, for what it goes on
sending is compared, and taken in nowhere. Counted in memory: a restart begins anew.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.effects import Effect
from aggregator.heads.agreement import Compared
from aggregator.heads.asides import count_again, put_aside
from aggregator.heads.averaging import Contribution
from aggregator.heads.weighing import upper_quartile
from aggregator.store import Store
from headway.arrays import Float64

# rounds in a row among up to USUAL_DEVICES; honest devices of benchmarks.attacks_gradient had two at most among ten and
# five among a hundred, where each knew one class alone
ROUNDS, USUAL_DEVICES = 4, 10
LONG = 5.0
USUAL_MIN = 0.1
# part of the usual cosine; beyond half of it lay honest devices, four rounds in a row, where each knows one class alone
AGAINST = 0.75
DEVICES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class _Seen:
    device: str
    cosine: float
    length: float


class UpdateReview:
    """Every method must run inside a transaction of the store."""

    def __init__(self, store: Store, events_max: int) -> None:
        self._store, self._events_max = store, events_max
        # rounds in a row that speak against a device that counts, or for one that does not
        self._in_a_row: OrderedDict[str, int] = OrderedDict()
        self._rounds = ROUNDS

    def look(
        self, devices: Sequence[str], compared: Compared, mean: Float64, aside: Iterable[Contribution], wall_s: float
    ) -> list[Effect]:
        """What follows from a round. devices: of the contributions that are compared; mean: the round's, float64 in any
        shape; aside: what those send that are set aside."""
        total, lengths = mean.ravel(), [float(norm) for norm in compared.norms]
        seen = [*map(_Seen, devices, (float(cosine) for cosine in compared.cosines), lengths)]
        usual, unit = float(np.median(compared.cosines)), max(upper_quartile(sorted(lengths)), 1e-12)
        against = max(compared.against, sum(one.cosine < 0.0 for one in seen))
        divided = usual < USUAL_MIN or against * 3 > len(seen)
        notes: list[Effect | None] = []
        self._rounds = rounds_of(len(seen))
        for each in seen:
            opposed = not divided and each.cosine < -AGAINST * usual
            if self._goes_on(each.device, opposed or each.length > LONG * unit):
                said = self._words(each, usual, unit)
                notes.append(put_aside(self._store, each.device, said, wall_s, self._events_max))
        for update in aside:
            delta = update.delta.ravel().astype(np.float64)
            each = _Seen(update.device, _cosine(delta, total), float(np.linalg.norm(delta)))
            if self._goes_on(each.device, each.cosine >= 0.0 and each.length <= LONG * unit and not divided):
                said = self._words(each, usual, unit)
                notes.append(count_again(self._store, each.device, said, wall_s, self._events_max))
        return [note for note in notes if note is not None]

    def left(self, device: str) -> None:
        """The device is out of the store."""
        self._in_a_row.pop(device, None)

    def _goes_on(self, device: str, again: bool) -> bool:
        """Whether this makes it so many rounds in a row."""
        before = self._in_a_row.pop(device, 0)
        count = before + 1 if again else 0
        if count and count < self._rounds:
            self._in_a_row[device] = count
            while len(self._in_a_row) > DEVICES_MAX:
                self._in_a_row.popitem(last=False)
        return count >= self._rounds

    def _words(self, one: _Seen, usual: float, unit: float) -> str:
        """What an operator is told."""
        said = f"in {self._rounds} rounds in a row, in this one with cosine {one.cosine:+.2f} to the others"
        return f"its updates {said} (usual {usual:+.2f}) and {one.length / unit:.1f} times the usual length"


def rounds_of(devices: int) -> int:
    """How many in a row set a device aside among so many: one more for every four times as many."""
    return ROUNDS + max(0, math.ceil(math.log(max(devices, 1) / USUAL_DEVICES, 4)))


def _cosine(one: Float64, other: Float64) -> float:
    norms = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.vdot(one, other)) / norms if norms else 0.0
