"""Conditions that come back: a phone worn upside down every other hour, a watch that several people use.

One linear head must do for all conditions, and is good in none. So the newest labels tell which condition holds now,
and each has integer sums of its own, from which one more expert is solved (recipes.py). The pool weighs it like any
other: it counts only while it predicts better.

A label of class c, at x, lies at distance d_k = (x - m_kc)^T S^-1 (x - m_kc) from where condition k has its class, S
the covariance within the classes of the condition that holds. Conditions last, so that what is believed follows a
hidden Markov model in which the condition stays with probability `condition_stay` (Rabiner 1989). When the newest
labels lie far from every known condition, as the median of their distances says beside that of the labels before, they
are the first of a new one.

Everything here follows from the labels and their order. What was predicted in between changes nothing; what is saved
goes on to the bit; and the sums of all conditions are those of all labels, which alone are told to the fleet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from edge_agent.learner.exact.rows import LabelledRows
from edge_agent.learner.exact.saved import packed, unpacked
from edge_agent.learner.exact.settings import ExactSettings
from headway.arrays import AnyArray, Float64, Int8
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.maths import HalfSums, Posterior, RowSums, Statistics, Sums, TrainingPrior
from headway.median import median

# worth of a class mean of the training data, as in the recipes
WORTH = 2.0
# what is believed at least of a condition: none is ever out of the question
BELIEF_MIN = 1e-6
RUNS_MAX = 256
# standard deviation of a normal distribution over its median absolute deviation; of its median over that of its mean
SPREAD, MEDIAN_ERROR = 1.4826, 1.2533


@dataclass(frozen=True, slots=True)
class _Seen:
    """A label that was seen: its number, code int8 (d,), and distance to its class where it was put."""

    number: int
    code: Int8
    label: int
    distance: float


class Places:
    """Where each condition has its classes, as it is between two refits. metric: has the covariance S."""

    def __init__(self, conditions: Sequence[Sums], prior: TrainingPrior, metric: Posterior) -> None:
        prior = prior.with_classes(conditions[0].classes)
        weight = WORTH * prior.seen
        self._metric = metric
        means = []
        for sums in conditions:
            class_sums = sums.class_sums.astype(np.float64)
            means.append(((weight * prior.means + class_sums[:-1]) / np.maximum(weight + class_sums[-1], 1e-12)).T)
        # float64 (K, C, d), the same times S^-1, and m^T S^-1 m, float64 (K, C)
        self._means: Float64 = np.array(means)
        self._weighed: Float64 = metric.times(self._means.reshape(-1, self._means.shape[2])).reshape(self._means.shape)
        self._own: Float64 = np.einsum("kcd,kcd->kc", self._weighed, self._means)

    def distances(self, code: Int8, label: int) -> Float64:
        """Of a label to its class in each condition, float64 (K,). code: int8 (d,)."""
        x = code.astype(np.float64)
        own = float(self._metric.times(x[None])[0] @ x)
        result: Float64 = own - 2.0 * (self._weighed[:, label] @ x) + self._own[:, label]
        return result


class Conditions:
    """Sums by condition, and which one holds. Nothing is kept apart before there is a second one.

    size: codes of a sample, d. At most `conditions_max` are kept; then the one that was not met for longest gives way.
    """

    def __init__(self, size: int, settings: ExactSettings) -> None:
        self._size, self._settings = size, settings
        self._sums: list[HalfSums] = []
        self._visited: list[int] = []
        self._belief: Float64 = np.ones(1)
        # conditions of the labels that wait, and of all labels by runs: number of the first, condition
        self._waiting: list[int] = []
        self._runs: list[tuple[int, int]] = [(0, 0)]
        self._newest: list[_Seen] = []
        self._before: list[float] = []

    def __len__(self) -> int:
        """How many there are; 1 while nothing is kept apart."""
        return max(len(self._sums), 1)

    @property
    def now(self) -> int:
        """The condition of the newest label."""
        return self._runs[-1][1]

    @property
    def sums(self) -> Sums | None:
        """Of the labels of the condition that holds, those that wait excepted; None while there is one only."""
        return self._sums[self.now] if self._sums else None

    def since(self, labels: int) -> int:
        """How many of `labels` labels came since the condition last changed."""
        return max(labels - self._runs[-1][0], 0)

    def places(self, everything: Sums, prior: TrainingPrior, metric: Posterior) -> Places:
        """everything: all labels in the buckets; metric: solved from those of the condition that holds."""
        return Places(self._sums or [everything], prior, metric)

    def see(self, code: Int8, label: int, number: int, places: Places) -> bool:
        """Label `number` is about to wait; whether another condition holds now. code: int8 (d,)."""
        distances = places.distances(code, label)
        believed = self._moved_on(distances)
        seen = _Seen(number, code.copy(), label, float(distances[believed]))
        window = self._settings.condition_labels
        self._newest.append(seen)
        self._before += [one.distance for one in self._newest[:-window]]
        self._newest = self._newest[-window:]
        self._before = self._before[-self._settings.condition_usual[1] :]
        self._waiting.append(believed)
        turned = self._turn(believed, number)
        return self._is_strange() or turned

    def skip(self) -> None:
        """A label that was taken back waits; it is of no condition."""
        self._waiting.append(self.now)

    def open_if_strange(self, everything: Sums) -> bool:
        """Once no label waits: the newest are the first of a new condition when they lie far from all that are known.

        everything: all labels.
        """
        if not self._is_strange():
            return False
        self._make_room(everything)
        opened, first = len(self._sums), self._newest[0].number
        moved = HalfSums.zeros(everything.size, everything.classes)
        for one in self._newest:
            row, old = self._row(one.code[None], one.label), self._condition_of(one.number)
            self._sums[old] = self._sums[old].plus(row, sign=-1)
            moved = moved.plus(row)
        self._sums.append(moved)
        self._visited.append(first)
        self._runs = [run for run in self._runs if run[0] < first]
        self._runs.append((first, opened))
        self._believe(np.where(np.arange(opened + 1) == opened, 1.0, 0.0))
        # what is usual has to show itself anew
        self._newest, self._before = [], []
        return True

    def fold(self, rows: LabelledRows) -> None:
        """The labels that wait go into the sums; rows: all of them, those taken back with -1."""
        waiting, self._waiting = np.array(self._waiting, np.int64), []
        if not self._sums or not len(rows):
            return
        for condition in sorted(set(waiting.tolist())):
            part = rows.kept(waiting == condition).known
            added = RowSums(part.codes, part.labels, self._sums[condition].classes)
            self._sums[condition] = self._sums[condition].plus(added)
        self._visited[self.now] = self._runs[-1][0] + len(rows)

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Label `number` is class `after` instead of `before`, or none. code: int8 (1, d)."""
        self.forget(code, before)
        if not self._sums:
            return
        if number < self._runs[0][0]:
            self.restart(len(self._waiting))
            return
        at = self._condition_of(number)
        self._sums[at] = self._sums[at].plus(self._row(code, before), sign=-1)
        if after is not None:
            self._sums[at] = self._sums[at].plus(self._row(code, after))

    def forget(self, code: Int8, label: int) -> None:
        """How strange this label was counts no more. code: int8 (1, d)."""
        self._newest = [one for one in self._newest if one.label != label or not np.array_equal(one.code, code[0])]

    def restart(self, waiting: int) -> None:
        """All labels are of one condition, so many of them wait."""
        self._sums, self._visited, self._belief = [], [], np.ones(1)
        self._waiting, self._runs = [0] * waiting, [(0, 0)]
        self._newest, self._before = [], []

    def copy(self) -> Conditions:
        """Another object that knows the same."""
        return copy(self)._parted()

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self._sums = [sums.with_classes(classes) for sums in self._sums]

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """Classes keep their places."""
        self._sums = [sums.renamed(renames) for sums in self._sums]

    def state(self, beside: Conditions | None = None) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        """beside: saved with it, so that sums which are the very same there are not saved again. Nothing where no
        conditions are kept."""
        if not self._settings.keeps_conditions(self._size):
            return {}, {}
        tensors: dict[str, AnyArray] = {
            "conditions.belief": self._belief,
            "conditions.before": np.array(self._before),
            "conditions.distances": np.array([one.distance for one in self._newest]),
            "conditions.numbers": np.array([one.number for one in self._newest], np.int64),
            "conditions.waiting": np.array(self._waiting, np.int64),
        }
        rows = LabelledRows.of([(one.code, one.label) for one in self._newest], self._size)
        tensors |= rows.state("conditions.newest")
        shared: list[JsonValue] = []
        for at, sums in enumerate(self._sums):
            same = [there for there, other in enumerate(beside._sums if beside else []) if other is sums]
            shared.append(same[0] if same else -1)
            tensors |= {} if same else packed(sums, f"condition.{at}")
        runs: list[JsonValue] = [{"run": list(run)} for run in self._runs]
        visited: list[JsonValue] = [*self._visited]
        return tensors, {"runs": runs, "visited": visited, "shared_conditions": shared}

    def restore(
        self, tensors: Mapping[str, AnyArray], values: Fields, like: Statistics, beside: Conditions | None = None
    ) -> None:
        """Inverse of `state`; of a state without conditions, or where none are kept, nothing.

        like: has size, space and classes. Raises StoreError.
        """
        if "conditions.belief" not in tensors:
            return
        runs = [item.integers("run", count_max=2) for item in values.tables("runs", count_max=RUNS_MAX)]
        shared = values.integers("shared_conditions", low=-1)
        visited = values.integers("visited")
        if not self._settings.keeps_conditions(self._size):
            return
        sums = [
            beside._sums[there] if there >= 0 and beside is not None else
            HalfSums.of(unpacked(tensors, f"condition.{at}", like, like.classes))
            for at, there in enumerate(shared)
        ]  # fmt: skip
        rows = LabelledRows.restored(tensors, "conditions.newest", self._size)
        distances, numbers = tensors["conditions.distances"], tensors["conditions.numbers"]
        belief, before, waiting = (tensors[f"conditions.{name}"] for name in ("belief", "before", "waiting"))
        known = max(len(sums), 1)
        fits = len(distances) == len(numbers) == len(rows) and len(belief) == known and len(visited) == len(sums)
        named = [condition for _, condition in runs] + waiting.tolist()
        if not fits or not runs or any(len(run) != 2 for run in runs) or not all(0 <= one < known for one in named):
            raise StoreError("saved conditions are damaged")
        self._sums, self._visited, self._belief = sums, list(visited), belief.astype(np.float64)
        self._runs, self._waiting = [(first, condition) for first, condition in runs], waiting.tolist()
        self._before = before.astype(np.float64).tolist()
        seen = zip(numbers.tolist(), rows.codes, rows.labels.tolist(), distances.tolist(), strict=True)
        self._newest = [_Seen(*one) for one in seen]

    def _parted(self) -> Conditions:
        self._sums, self._visited, self._runs = list(self._sums), list(self._visited), list(self._runs)
        self._waiting, self._newest, self._before = list(self._waiting), list(self._newest), list(self._before)
        return self

    def _moved_on(self, distances: Float64) -> int:
        """Believe what the distances of one more label say; the condition that is believed most."""
        if len(distances) == 1:
            return 0
        stay = self._settings.condition_stay
        before = self._belief * stay + (1.0 - self._belief) * (1.0 - stay) / (len(distances) - 1)
        logs = np.log(before) - 0.5 * (distances - distances.min()) / self._settings.condition_temperature
        self._believe(np.exp(logs - logs.max()))
        return int(self._belief.argmax())

    def _believe(self, weights: Float64) -> None:
        belief = np.maximum(weights / weights.sum(), BELIEF_MIN)
        self._belief = belief / belief.sum()

    def _turn(self, condition: int, number: int) -> bool:
        """The newest label, `number`, is of this condition; whether that is another than before."""
        if condition == self.now:
            return False
        self._runs.append((number, condition))
        self._runs = self._runs[-RUNS_MAX:]
        return True

    def _is_strange(self) -> bool:
        """Whether the newest labels lie far from where labels lay before."""
        if len(self._newest) < self._settings.condition_labels or len(self._before) < self._settings.condition_usual[0]:
            return False
        # asked with every label: sorting so few numbers is quicker than NumPy's median of them
        ratio, errors = self._settings.condition_distance
        newest, usual = median([one.distance for one in self._newest]), median(self._before)
        if newest <= ratio * usual:
            return False
        # of the median of so many, where they are spread as those before
        spread = SPREAD * median([abs(distance - usual) for distance in self._before])
        return newest > usual + errors * spread * MEDIAN_ERROR / math.sqrt(len(self._newest))

    def _condition_of(self, number: int) -> int:
        return next(condition for first, condition in reversed(self._runs) if first <= number)

    def _make_room(self, everything: Sums) -> None:
        """Keep sums apart, and give up the condition that was not met for longest where there are too many."""
        if not self._sums:
            self._sums, self._visited = [HalfSums.of(everything)], [0]
            return
        if len(self._sums) < self._settings.conditions_max:
            return
        gone = min((at for at in range(1, len(self._sums)) if at != self.now), key=lambda at: self._visited[at])
        # its labels are the first one's from now on
        self._sums[0] = self._sums[0].plus(self._sums.pop(gone))
        del self._visited[gone]
        self._belief = np.delete(self._belief, gone)
        place = [0 if at == gone else at - (at > gone) for at in range(len(self._sums) + 1)]
        self._runs = [(first, place[condition]) for first, condition in self._runs]

    def _row(self, code: Int8, label: int) -> RowSums:
        return RowSums(code, np.array([label], np.int64), self._sums[0].classes)
