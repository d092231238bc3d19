"""The newest labels as they were learned, and moments to go back to: a label that was wrong leaves no mark.

    correction -> back to the moment before that label -> the labels since once more, with the right one

What a label did to tables comes out again as integers. What it did to scores, weights, temperatures and to the choice
of the head does not: each depends on all labels before it. So the learner keeps where it stood every `MOMENT_LABELS`
labels (what it shares with the present costs nothing) and learns the labels since anew. Labels older than that change
the tables of all moments, and their scores are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_agent.learner.drift import ErrorDrift
from edge_agent.learner.exact import ExactTrainer, Moment, packed, unpacked
from edge_agent.learner.gate import Gate, Scorer
from edge_agent.learner.saved_parts import parts_of, under
from headway.arrays import AnyArray, Float32, Int8
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.maths import Statistics
from headway.samples import Label, no_label

# between two moments; fewer would make a correction quicker, and what is held larger
MOMENT_LABELS = 64
# a label can be gone back to for at least so many that follow it: as many as stay as evidence
KEPT_LABELS = 128
# of other devices, within the labels that are kept; beyond it the oldest count as if the next had come instead
ADOPTIONS_MAX = 8


@dataclass(frozen=True, slots=True)
class LearnedLabel:
    """One labelled window as it was learned.

    codes: int8 (1, d), (1, 0) where the trainer does not learn again; label: without any, it was taken back.
    served: what was answered, float32 (1, C); frozen_logits: float32 (1, C0); outputs: of the heads that do not change
    by learning again, float32 (1, C); classes: how many were known.
    """

    number: int
    codes: Int8
    label: Label
    served: Float32
    frozen_logits: Float32
    outputs: Mapping[str, Float32]
    classes: int

    @property
    def width(self) -> int:
        """Classes that must be known to learn it; a correction may name one that came later."""
        return max(self.classes, self.label + 1) if isinstance(self.label, int) else self.classes


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the learner stood before label `number`. trainer: None of one that does not go back."""

    number: int
    gate: Gate
    scorer: Scorer
    drift: ErrorDrift
    trainer: Moment | None


class LabelHistory:
    """Entries are numbered without gaps; the newest `KEPT_LABELS` or more, from the oldest moment on."""

    def __init__(self) -> None:
        self._entries: list[LearnedLabel] = []
        self._standings: list[Standing] = []
        self._adoptions: list[tuple[int, Statistics]] = []

    def add(self, entry: LearnedLabel, standing: Callable[[], Standing]) -> None:
        """A label about to be learned. standing: where the learner stands."""
        if not self._standings or entry.number % MOMENT_LABELS == 0:
            self._standings.append(standing())
            while len(self._standings) > 1 and self._standings[1].number <= entry.number - KEPT_LABELS:
                del self._standings[0]
            first = self._standings[0].number
            self._entries = [kept for kept in self._entries if kept.number >= first]
            self._adoptions = [(number, prior) for number, prior in self._adoptions if number > first]
        self._entries.append(entry)

    def adopted(self, number: int, statistics: Statistics) -> None:
        """What other devices learned was taken up before label `number`."""
        kept = [adoption for adoption in self._adoptions if adoption[0] != number]
        self._adoptions = [*kept, (number, statistics)][-ADOPTIONS_MAX:]

    def forget_moments(self) -> None:
        """No earlier moment, and what it knew of other devices, is kept: labels so far are too old to go back to."""
        self._entries, self._standings, self._adoptions = [], [], []

    def relabel(self, number: int, label: Label) -> Standing | None:
        """Label `number` is `label`, or none. Where to go back to; None where it is too old for that."""
        at = number - self._entries[0].number if self._entries else -1
        if not 0 <= at < len(self._entries):
            return None
        self._entries[at] = replace(self._entries[at], label=label)
        # what stood later stood on the wrong label
        self._standings = [kept for kept in self._standings if kept.number <= number]
        # where an older one waits for its turn, that is the last that is left
        return self._standings[-1]

    def since(self, standing: Standing) -> Iterator[LearnedLabel]:
        """The labels since then, to be learned anew. Moments on the way are to be noted again, see `note`."""
        yield from [entry for entry in self._entries if entry.number >= standing.number]

    def known(self, newest: int) -> list[LearnedLabel]:
        """The labels up to number `newest` that are kept and were not taken back, in order."""
        return [entry for entry in self._entries if entry.number <= newest and not no_label(entry.label)]

    def note(self, number: int, standing: Callable[[], Standing]) -> None:
        """Label `number` is about to be learned anew."""
        if number % MOMENT_LABELS == 0 and self._standings[-1].number < number:
            self._standings.append(standing())

    def adoption(self, number: int) -> Statistics | None:
        """What was taken up right before label `number`, if anything was."""
        return dict(self._adoptions).get(number)

    def change(self, number: int, code: Int8, before: Label, after: Label, classes: tuple[str, ...]) -> None:
        """A label too old to go back to was wrong: tables of all moments change, and its scores are dropped.

        classes: all that are known, as statistics name them.
        """
        for standing in self._standings:
            forget_scores(standing.gate, standing.scorer, number)
            if standing.trainer is not None and isinstance(before, int) and isinstance(after, int):
                standing.trainer.change(number, code, before, after, classes)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """Some classes have other names (old, new) from now on."""
        for standing in self._standings:
            if standing.trainer is not None:
                standing.trainer.renamed(renames)
        self._adoptions = [(number, prior.renamed(renames)) for number, prior in self._adoptions]

    def state(self, trainer: ExactTrainer | None) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        """trainer: as it is now, of which moments save only what differs."""
        tensors = _stacked(self._entries)
        standings: list[JsonValue] = []
        for at, standing in enumerate(self._standings):
            gate_tensors, gate = standing.gate.state()
            scorer_tensors, scorer = standing.scorer.state()
            drift_tensors, drift = standing.drift.state()
            parts = under("gate", gate_tensors) | under("frozen", scorer_tensors) | under("drift", drift_tensors)
            values: dict[str, JsonValue] = {"number": standing.number, "gate": gate, "scorer": scorer, "drift": drift}
            if standing.trainer is not None and trainer is not None:
                trainer_tensors, values["trainer"] = trainer.moment_state(standing.trainer)
                parts |= under("trainer", trainer_tensors)
            tensors |= under(str(at), parts)
            standings.append(values)
        adoptions: list[JsonValue] = []
        for at, (number, prior) in enumerate(self._adoptions):
            tensors |= packed(prior, f"adoption.{at}")
            adoptions.append({"number": number, "classes": [*prior.classes]})
        first = self._entries[0].number if self._entries else 0
        return tensors, {"first": first, "standings": standings, "adoptions": adoptions}

    def restore(
        self,
        tensors: Mapping[str, AnyArray],
        values: Fields,
        fresh: Callable[[], tuple[Gate, Scorer, ErrorDrift]],
        trainer: ExactTrainer | None,
        like: Statistics,
    ) -> None:
        """Inverse of `state`. fresh: gate, scorer and detector that know nothing; like: of this feature space.

        Raises StoreError.
        """
        self._entries = _unstacked(tensors, values.integer("first"))
        self._standings = []
        for at, saved in enumerate(values.tables("standings", count_max=KEPT_LABELS)):
            parts, number = parts_of(tensors, str(at)), saved.integer("number")
            gate, scorer, drift = fresh()
            gate.restore(parts_of(parts, "gate"), saved.table("gate"), number)
            scorer.restore(parts_of(parts, "frozen"), saved.table("scorer"))
            drift.restore(parts_of(parts, "drift"), saved.table("drift"))
            moment = None
            if trainer is not None:
                moment = trainer.moment_restored(parts_of(parts, "trainer"), saved.table("trainer"))
            saved.finish()
            self._standings.append(Standing(number, gate, scorer, drift, moment))
        self._adoptions = []
        for at, saved in enumerate(values.tables("adoptions", count_max=ADOPTIONS_MAX)):
            prior = unpacked(tensors, f"adoption.{at}", like, saved.strings("classes"))
            self._adoptions.append((saved.integer("number"), prior))
            saved.finish()
        values.finish()


def forget_scores(gate: Gate, scorer: Scorer, number: int) -> None:
    """Drop how the heads did on label `number`, where that is still kept."""
    ago = gate.forget(number)
    if ago is not None:
        scorer.forget(ago)


def _stacked(entries: Sequence[LearnedLabel]) -> dict[str, AnyArray]:
    """Rows of all entries together; NaN where there is nothing."""
    if not entries:
        return {}
    width = max(entry.served.shape[1] for entry in entries)
    width = max([width, *(output.shape[1] for entry in entries for output in entry.outputs.values())])
    tensors: dict[str, AnyArray] = {
        "codes": np.concatenate([entry.codes for entry in entries]),
        "classes": np.array([entry.classes for entry in entries], np.int64),
        "served": np.concatenate([_padded(entry.served, width) for entry in entries]),
        "frozen_logits": np.concatenate([entry.frozen_logits for entry in entries]),
    }
    if isinstance(entries[0].label, int):
        tensors["labels"] = np.array([entry.label for entry in entries], np.int64)
    else:
        tensors["targets"] = np.array([entry.label for entry in entries], np.float32)
    nothing = np.full((1, 0), np.nan, np.float32)
    for name in sorted({name for entry in entries for name in entry.outputs}):
        rows = [_padded(entry.outputs.get(name, nothing), width) for entry in entries]
        tensors[f"output.{name}"] = np.concatenate(rows)
    return tensors


def _unstacked(tensors: Mapping[str, AnyArray], first: int) -> list[LearnedLabel]:
    """Inverse of `_stacked`. Raises StoreError."""
    if "codes" not in tensors:
        return []
    codes, classes, served, logits = (tensors[name] for name in ("codes", "classes", "served", "frozen_logits"))
    labels, targets = tensors.get("labels"), tensors.get("targets")
    outputs = {name.removeprefix("output."): rows for name, rows in tensors.items() if name.startswith("output.")}
    given = labels if labels is not None else targets
    count = len(codes)
    if given is None or any(len(rows) != count for rows in (classes, served, logits, given, *outputs.values())):
        raise StoreError("saved labels of the learner's history are damaged")
    entries = []
    for row in range(count):
        at = slice(row, row + 1)
        own = {name: _trimmed(rows[at]) for name, rows in outputs.items()}
        label: Label = int(labels[row]) if labels is not None else given[row]
        kept = {name: output for name, output in own.items() if output.shape[1]}
        entries.append(
            LearnedLabel(first + row, codes[at], label, _trimmed(served[at]), logits[at], kept, int(classes[row]))
        )
    return entries


def _padded(row: Float32, width: int) -> Float32:
    if row.shape[1] == width:
        return row
    return np.concatenate([row, np.full((len(row), width - row.shape[1]), np.nan, row.dtype)], axis=1)


def _trimmed(row: Float32) -> Float32:
    """Without the columns that were not known yet."""
    known = np.flatnonzero(~np.isnan(row[0]))
    return row[:, : known[-1] + 1 if len(known) else 0]
