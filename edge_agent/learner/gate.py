"""The gate between learning and serving.

Every candidate predicts each labelled sample before anyone learns from it (prequential scoring, Dawid 1984), and
only these scores count. The head in service is replaced by one that is better by a margin; ties keep it. The frozen
head is always a candidate, so a device does not end worse than if it had never learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headway.errors import StoreError
from headway.fields import Fields, JsonValue

FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Score:
    """Discounted prequential sums of one candidate: how many samples it was scored on, how many it got right."""

    weight: float = 0.0
    correct: float = 0.0

    @property
    def errors(self) -> float:
        return self.weight - self.correct


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of the serving head, with the evidence it rests on."""

    before: str
    after: str
    scores: Mapping[str, Score]


class Gate:
    """Scores candidates and chooses who serves."""

    def __init__(self, discount: float, margin: float) -> None:
        self._discount = discount
        self._margin = margin
        self._scores: dict[str, Score] = {FROZEN: Score()}
        self.serving = FROZEN

    @property
    def scores(self) -> Mapping[str, Score]:
        return self._scores

    def record(self, correct: Mapping[str, bool]) -> None:
        """Score one labelled sample: for each candidate, whether its prediction was right."""
        for name, right in correct.items():
            score = self._scores.get(name, Score())
            keep = self._discount
            self._scores[name] = Score(score.weight * keep + 1.0, score.correct * keep + float(right))

    def withdraw(self, name: str) -> None:
        """Forget a candidate whose head was replaced by another one; its score was earned by the old head."""
        self._scores.pop(name, None)
        if self.serving == name:
            self.serving = FROZEN

    def decide(self) -> Decision | None:
        """Replace the serving head if another one has earned it. None when nothing changes.

        Scores are compared as error sums over the samples both were scored on: a younger candidate is credited
        with the incumbent's errors for the time before it existed, which neither helps nor harms it.
        """
        incumbent = self._scores.get(self.serving, Score())
        best, best_lead = self.serving, self._margin
        for name, score in self._scores.items():
            share = score.weight / incumbent.weight if incumbent.weight else 1.0
            lead = incumbent.errors * min(share, 1.0) - score.errors
            if name != self.serving and lead > best_lead:
                best, best_lead = name, lead
        if best == self.serving:
            return None
        decision = Decision(self.serving, best, dict(self._scores))
        self.serving = best
        return decision

    def state(self) -> dict[str, JsonValue]:
        scores: dict[str, JsonValue] = {n: [s.weight, s.correct] for n, s in self._scores.items()}
        return {"serving": self.serving, "scores": scores}

    def restore(self, values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        self.serving = values.text("serving")
        scores = values.mapping("scores")
        values.finish()
        self._scores = {}
        for name, pair in scores.items():
            if not isinstance(pair, list) or len(pair) != 2:
                raise StoreError(f"saved score of {name!r} is damaged: {pair!r}")
            self._scores[name] = Score(float(str(pair[0])), float(str(pair[1])))
