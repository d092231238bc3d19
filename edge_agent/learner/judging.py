"""Takes labels one by one: score every head, learn, watch for drift, decide; and anew where a label was wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from edge_agent.learner.class_names import ClassNames
from edge_agent.learner.doubts import Doubts
from edge_agent.learner.drift import Drift, ErrorDrift
from edge_agent.learner.exact import CANDIDATE, ExactTrainer
from edge_agent.learner.gate import FROZEN, ROWS, SCORED_MIN, ClassScorer, Decision, Gate, Scorer, build_scorer
from edge_agent.learner.label_history import LabelHistory, LearnedLabel, Standing, forget_scores
from edge_agent.learner.saved_parts import parts_of, under
from edge_agent.learner.trainer import Trainer
from edge_agent.learner_settings import LearnerSettings
from headway.arrays import AnyArray, Float32, Float64, Int8
from headway.bundle import Variant
from headway.fields import Fields, JsonValue
from headway.maths import Statistics, Task
from headway.samples import UNLABELLED, Label, class_index, no_label

# one of each of two classes; of values so few tell nothing
CLASS_LABELS_MIN = 2
# numbers, classes given, log-probabilities of both heads: `Doubts.judge` and `Doubts.count`
JudgeLabels = Callable[[Sequence[int], Sequence[int], Float64, Float64], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a label brought about, if anything: another head in service; an alarm."""

    decision: Decision | None
    drift: Drift | None


class Judging:
    """Gate, scores, drift detector and history of one learner, and its trainer, which all change with every label.

    decisions, drifts: what came of labels, until somebody takes it.
    """

    def __init__(self, variant: Variant, settings: LearnerSettings, names: ClassNames, trainer: Trainer) -> None:
        self._variant, self._settings, self._names, self._trainer = variant, settings, names, trainer
        # None of one that cannot go back and learn again
        self._exact = trainer if isinstance(trainer, ExactTrainer) else None
        self.gate, self.scorer, self.drift = self._fresh()
        self.history = LabelHistory()
        self.doubts = Doubts()
        self.decisions: list[Decision] = []
        self.drifts: list[Drift] = []
        # where corrections begin that are yet to be learned, and who served and until when it was quiet before them
        self._due: tuple[Standing | None, str, int] | None = None

    @property
    def learns_again(self) -> bool:
        """Whether the trainer's heads on a label's window follow from the labels before, so that none is kept."""
        return self._exact is not None

    @property
    def frozen_share(self) -> float:
        """What the frozen head's say is beside the learned one in service, see `Gate.frozen_share`."""
        if self._variant.task is not Task.CLASSIFICATION:
            return 0.0
        return self.gate.frozen_share(self._trainer.leave_one_out(), self._trainer.pending)

    @property
    def learned_share(self) -> float | None:
        """What part of a value the learned head says, see `Gate.learned_share`; None of what is no value."""
        if self._variant.task is not Task.REGRESSION:
            return None
        return self.gate.learned_share(CANDIDATE, self._trainer.leave_one_out(), self._trainer.pending)

    def take(self, entry: LearnedLabel) -> None:
        """One more label."""
        self.history.add(entry, lambda: self._standing(entry.number))
        self._note(self._take(entry))

    def correct(self, number: int, codes: Int8, before: Label, after: Label | None) -> None:
        """Label `number` was wrong: after `settle`, all stands as if it had been `after`, or nothing, at once.

        Scores on a label too old to go back to are dropped. Descent takes no step back. codes: int8 (1, d).
        """
        label = after if after is not None else UNLABELLED if isinstance(before, int) else np.full_like(before, np.nan)
        self.doubts.withdraw(number)
        standing = self.history.relabel(number, label)
        if self._exact is None:
            self._trainer.correct(number, codes, before, after)
        elif standing is None:
            self._exact.change(number, codes, class_index(before), class_index(label))
        if standing is None:
            self.history.change(number, codes, before, label, self._names.wire_names)
            forget_scores(self.gate, self.scorer, number)
            standing = self._due[0] if self._due else None
        _, serving, quiet_until = self._due or (None, self.gate.serving, self.drift.quiet_until)
        self._due = (standing, serving, quiet_until)

    def correct_tables(self, number: int, codes: Int8, before: Label, after: Label | None) -> None:
        """As agents corrected before they learned labels again: what their journals hold leads where it led."""
        self.settle()
        self.doubts.withdraw(number)
        self._trainer.correct(number, codes, before, after)
        self.history = LabelHistory()

    def settle(self) -> None:
        """Learn what was corrected: when somebody asks, so that many cost as much as the oldest of them."""
        if self._due is None:
            return
        (standing, serving, quiet_until), self._due = self._due, None
        drift = None if standing is None else self._learn_again(standing)
        evidence, pending = self._trainer.leave_one_out(), self._trainer.pending
        self.gate.decide(evidence, pending)
        new_alarm = self.drift.quiet_until > quiet_until
        self._note(Outcome(self.gate.changed(serving, evidence, pending), drift if new_alarm else None))

    def take_decisions(self) -> list[Decision]:
        self.settle()
        decisions, self.decisions = self.decisions, []
        return decisions

    def take_drifts(self) -> list[Drift]:
        self.settle()
        drifts, self.drifts = self.drifts, []
        return drifts

    def adopted(self, statistics: Statistics) -> None:
        """The trainer has taken up what other devices learned."""
        if self._exact is not None:
            self.history.adopted(self._exact.labels, statistics)

    def drop_prior(self) -> bool:
        """Know nothing more of other devices, in no earlier moment, either; False where nothing is known.

        Labels so far are then too old to go back to.
        """
        known = self._trainer.prior_statistics
        if known is None or not known.samples:
            return False
        self._trainer.adopt_prior(Statistics.zeros(known.size, known.classes, known.space))
        self.history.forget_moments()
        return True

    def _note(self, outcome: Outcome) -> None:
        self.drifts += [outcome.drift] if outcome.drift is not None else []
        self.decisions += [outcome.decision] if outcome.decision is not None else []

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        gate_tensors, gate = self.gate.state()
        scorer_tensors, scorer = self.scorer.state()
        drift_tensors, drift = self.drift.state()
        history_tensors, history = self.history.state(self._exact)
        tensors = under("gate", gate_tensors) | under("frozen", scorer_tensors) | under("drift", drift_tensors)
        return tensors | under("history", history_tensors | self.doubts.state()), {
            "gate": gate,
            "scorer": scorer,
            "drift": drift,
            "history": history,
        }

    def restore(self, tensors: dict[str, AnyArray], fields: Fields) -> None:
        """Inverse of `state`, once the trainer is restored. Raises StoreError."""
        self.gate.restore(parts_of(tensors, "gate"), fields.table("gate"), self._trainer.labels)
        self.scorer.restore(parts_of(tensors, "frozen"), fields.table("scorer"))
        self.drift.restore(parts_of(tensors, "drift"), fields.table("drift"))
        if fields.has("history"):  # agents before corrections were learned anew kept none
            saved = parts_of(tensors, "history")
            self.doubts.restore(saved, len(self._names))
            self.history.restore(
                saved, fields.table("history"), self._fresh, self._exact, self._variant.training_statistics
            )

    def _take(self, entry: LearnedLabel, *, again: bool = False) -> Outcome:
        """Score first, then learn, then let the gate decide. again: only the exact learner learns."""
        learned = self._score(entry)
        truth = np.asarray(entry.label)[None]
        learns = not again or self._exact is not None
        if learns:
            self._trainer.learn(entry.codes, truth)
        if self._exact is not None:
            self._doubt(entry, learned)
        drift = self.drift.add(self.scorer.error(entry.served, truth), entry.number)
        if drift is not None and learns:
            self._trainer.drifted(drift.since)
        evidence = self._trainer.leave_one_out()
        if evidence and not learns:
            return Outcome(None, drift)  # it is of now; the choice is made once all are taken
        return Outcome(self.gate.decide(evidence, self._trainer.pending), drift)

    def _score(self, entry: LearnedLabel) -> dict[str, Float32]:
        """Every head on a labelled window that none has learned. Their probabilities, float32 (1, C)."""
        width = len(self._names)
        outputs = {name: widened(output, width) for name, output in entry.outputs.items()}
        if self._exact is not None:
            values = entry.codes.astype(np.float32)
            for name, head in self._exact.candidates().items():
                given = head.probabilities(values)
                known = self._names.wire_names[: len(head.classes)]
                as_known = head.classes == known and not self._names.removed
                outputs[name] = widened(given, width) if as_known else self._names.spread(given, head.classes)
        losses, recalibrated = self.scorer.losses(outputs, entry.frozen_logits, np.asarray(entry.label)[None])
        self.gate.record(losses, entry.number)
        if recalibrated is not None:
            self.gate.rescore(FROZEN, recalibrated)
        return outputs

    def _doubt(self, entry: LearnedLabel, outputs: dict[str, Float32]) -> None:
        """Labels are doubted by heads that did not learn them: each before it was learned, or left out of a refit."""
        if self._exact is None or not isinstance(self.scorer, ClassScorer):
            return
        before = np.log(np.maximum(outputs[CANDIDATE], 1e-12)).astype(np.float64)
        self._judge_labels(self.doubts.count, [entry], entry.number, before)
        if not self._exact.few:
            self._judge_labels(self.doubts.judge, [entry], entry.number, before)
        left_out = None if self._exact.pending else self._exact.left_out()
        if left_out is not None:
            newest = self.history.known(entry.number)[-len(left_out) :]
            self._judge_labels(self.doubts.judge, newest, entry.number, left_out[len(left_out) - len(newest) :])

    def _judge_labels(self, judge: JudgeLabels, entries: list[LearnedLabel], number: int, learned: Float64) -> None:
        """number: of the newest label so far. learned: log-probabilities of `entries`, float64 (n, C)."""
        if not entries or not isinstance(self.scorer, ClassScorer):
            return
        frozen = self.scorer.calibrated(np.concatenate([entry.frozen_logits for entry in entries]))
        labels = np.array([class_index(entry.label) for entry in entries])
        removed = np.array([name in self._names.removed for name in self._names.local_names[: learned.shape[1]]])
        if removed.any():
            thinkable = ~removed | (np.arange(len(removed)) == labels[:, None])
            learned = np.where(thinkable, learned, -np.inf)
        judged = labels < frozen.shape[1]
        if not judged.all():
            # without the only label of a class that the bundle does not know, nobody can tell it
            known = self.history.known(number)
            met = np.bincount([class_index(entry.label) for entry in known], minlength=learned.shape[1])
            judged |= met[labels] > 1
        numbers = np.array([entry.number for entry in entries])
        judge(numbers[judged].tolist(), labels[judged].tolist(), learned[judged], frozen[judged])

    def _learn_again(self, standing: Standing) -> Drift | None:
        """Go back, and take the labels since as they are now; the newest alarm on the way."""
        self.gate, self.scorer = deepcopy(standing.gate), deepcopy(standing.scorer)
        self.drift, newest = standing.drift.copy(), None
        if self._exact is not None and standing.trainer is not None:
            self._exact.go_back(standing.trainer)
        for entry in self.history.since(standing):
            number = entry.number
            self._adopt_again(number, entry.width)
            self.history.note(number, lambda number=number: self._standing(number))  # type: ignore[misc]
            if not no_label(entry.label):
                newest = self._take(entry, again=True).drift or newest
            elif self._exact is not None:
                self._exact.learn(entry.codes, np.array([UNLABELLED], np.int64))
        self._adopt_again(self._trainer.labels, len(self._names))
        return newest

    def _adopt_again(self, number: int, classes: int) -> None:
        """What came right before label `number`, when so many classes were known."""
        if self._exact is None:
            return
        if classes > len(self._exact.classes):
            self._exact.with_classes(self._names.wire_names[:classes])
        statistics = self.history.adoption(number)
        if statistics is not None:
            self._exact.adopt_prior(statistics)

    def _standing(self, number: int) -> Standing:
        moment = None if self._exact is None else self._exact.moment()
        return Standing(number, deepcopy(self.gate), deepcopy(self.scorer), self.drift.copy(), moment)

    def _fresh(self) -> tuple[Gate, Scorer, ErrorDrift]:
        settings, classes = self._settings, len(self._variant.classes)
        least = CLASS_LABELS_MIN if self._variant.task is Task.CLASSIFICATION else SCORED_MIN
        gate = Gate(settings.gate_discount, settings.gate_margin, settings.gate_errors, least)
        return gate, build_scorer(self._variant.task, classes, ROWS), ErrorDrift(settings.drift)


def widened(outputs: Float32, classes: int) -> Float32:
    """Columns of zeros for classes that were not known when this was served. float32 (n, C') -> (n, C)."""
    if outputs.shape[1] == classes:
        return outputs
    wide = np.zeros((len(outputs), classes), outputs.dtype)
    wide[:, : outputs.shape[1]] = outputs
    return wide
