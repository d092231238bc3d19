"""How the experts of a regression, or of several labels per window, become one head.

As in exact/experts.py: weighed by how well each predicts labels that it has not seen, and pooled. The pool of linear
heads is linear again. A value's loss is its error in units of the best expert's mean error, which is the log-loss under
a Laplace distribution of that size; a label's is its log-loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_agent.learner.exact import ExactSettings, Weights
from edge_agent.learner.gate import ERROR_UNITS_MAX, label_losses
from edge_agent.learner.targets.knowledge import TargetKnowledge
from edge_agent.learner.targets.recipes import RECIPES, SHIPPED, Model, solutions
from headway.arrays import Float64, Int8
from headway.maths import LABEL_THRESHOLD, Head, HeadInput, HeadKind, TargetPrior, link

UNIT_MIN = 1e-30
# log-odds of the frozen head stay as they were shipped until labels say more; those of a discriminant are overconfident
SHIPPED_LOG2, DISCRIMINANT_LOG2 = 0.0, 1.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """temperatures: by expert, of log-odds; units: of values, float64 (C,), None before any label."""

    temperatures: dict[str, float]
    units: Float64 | None


NOT_CALIBRATED = Calibration({}, None)


class ServedTargets:
    """The experts at one point, as they serve until the next refit; experts over all labels follow every label.

    left_out_losses: what the gate compares, of the pool, for the newest labels, each predicted by experts solved
    without it, float64 (n,); None where leave-one-out does not judge.
    """

    def __init__(
        self,
        knowledge: TargetKnowledge,
        model: Model,
        prior: TargetPrior,
        settings: ExactSettings,
        weights: Weights,
        calibration: Calibration,
        *,
        calibrate: bool,
    ) -> None:
        self._model = model
        found = solutions(knowledge, model, prior, RECIPES)
        self._solutions = [solution for solution, _ in found]
        self._static = model.weights()[None] if model.of_labels else np.zeros((0, model.size + 1, len(model.classes)))
        self._static_temperature = calibration.temperatures.get(SHIPPED, 1.0)
        self.names = tuple(name for s in self._solutions for name in s.names)
        self.names += (SHIPPED,) if model.of_labels else ()
        for solution in self._solutions:
            solution.temperatures[:] = [calibration.temperatures.get(name, 1.0) for name in solution.names]
        self.calibration, self.weights = calibration, weights
        self.left_out_losses: Float64 | None = None
        few = knowledge.few
        if (few or calibrate) and len(knowledge.evidence):
            self._judge(knowledge, [len(rows) for _, rows in found], settings, few)
        self._outputs: Float64 | None = None
        self._head: Head | None = None

    @property
    def head(self) -> Head:
        """The pool."""
        if self._head is None:
            model = self._model
            pooled = np.einsum("m,mdc->dc", self.weights.of(self.names), self._stacked()).astype(np.float32)
            kind = HeadKind.SIGMOID if model.of_labels else HeadKind.LINEAR
            kernel = np.ascontiguousarray(pooled[:-1])
            self._head = Head(kernel, pooled[-1].copy(), kind, model.classes, HeadInput.CODES)
        return self._head

    def score(self, row: Int8) -> None:
        """Move the weights by how the experts predict a label that none of them has learned. row: int8 (1, ...)."""
        inputs, targets = self._model.split(row)
        losses = self._losses(inputs @ self._stacked(), targets)[:, 0]
        self.weights = self.weights.scored(self.names, losses)
        self._head = None

    def follow(self, row: Int8) -> None:
        """Let the experts over all labels learn one more, of which all targets are known. row: int8 (1, ...)."""
        inputs, targets = self._model.split(row)
        for solution in self._solutions:
            if solution.follows:
                solution.add(inputs[0], targets[0])
        self._outputs = self._head = None

    def _stacked(self) -> Float64:
        if self._outputs is None:
            parts = [solution.outputs() for solution in self._solutions]
            self._outputs = np.concatenate([*parts, self._static / self._static_temperature])
        return self._outputs

    def _judge(self, knowledge: TargetKnowledge, rows: list[int], settings: ExactSettings, few: bool) -> None:
        """Calibrate, and while labels are few set the weights anew, from labels that each expert was solved without."""
        inputs, targets = self._model.split(knowledge.evidence.rows)
        outputs = np.concatenate(
            [
                *(solution.left_out(inputs, targets) for solution in self._solutions),
                inputs @ self._static,
            ]
        )
        asked = np.array([count for s, count in zip(self._solutions, rows, strict=True) for _ in s.names])
        if self._model.of_labels:
            asked = np.append(asked, len(inputs))
            temperatures = self._fit_temperatures(outputs, targets, asked, np.array(settings.temperatures))
            outputs /= temperatures[:, None, None]
            self.calibration = Calibration(dict(zip(self.names, temperatures.tolist(), strict=True)), None)
            self._static_temperature = float(temperatures[-1])
            at = 0
            for solution in self._solutions:
                solution.temperatures[:] = temperatures[at : at + len(solution.names)]
                at += len(solution.names)
        else:
            everything = asked == len(inputs)
            self.calibration = Calibration({}, _units(outputs[everything], targets))
        if not few:
            return
        shared = int(asked.min())
        if not shared:
            return
        losses = self._losses(outputs[:, -shared:], targets[-shared:])
        self.weights = self.weights.judged(dict(zip(self.names, losses, strict=True)))
        pooled = np.einsum("m,mnc->nc", self.weights.of(self.names), outputs[:, -shared:])
        unbroken = len(knowledge.evidence.unbroken(knowledge.buckets.labels))
        losses = self._gate_losses(pooled, inputs, targets)
        self.left_out_losses = losses[len(losses) - min(shared, unbroken) :]

    def _losses(self, outputs: Float64, targets: Float64) -> Float64:
        """In nats, a mean over the known targets; outputs: float64 (m, n, C), targets: (n, C) -> float64 (m, n)."""
        known = np.isfinite(targets)
        if self._model.of_labels:
            signed = np.where(targets > LABEL_THRESHOLD, outputs, -outputs)
            each = np.logaddexp(0.0, -signed)
        else:
            units = self.calibration.units
            each = np.abs(outputs - targets) / (1.0 if units is None else units)
        total: Float64 = np.where(known, each, 0.0).sum(axis=2) / np.maximum(known.sum(axis=1), 1)
        return total

    def _gate_losses(self, outputs: Float64, inputs: Float64, targets: Float64) -> Float64:
        """As `edge_agent.learner.gate.scoring` has them, for the newest rows of `targets`. float64 (n, C)."""
        count = len(outputs)
        if self._model.of_labels:
            return label_losses(link(outputs.astype(np.float32), HeadKind.SIGMOID).astype(np.float64), targets[-count:])
        known = np.isfinite(targets)
        shipped = np.where(known, np.abs(inputs @ self._model.weights() - targets), 0.0)
        # the frozen head's mean error up to then, as the gate had it when it scored that head
        unit = np.cumsum(shipped, axis=0) / np.maximum(np.cumsum(known, axis=0), 1)
        errors = np.abs(outputs - targets[-count:]) / np.maximum(unit[-count:], UNIT_MIN)
        # where a value lay beyond the range its row holds the end of it: who came near that was not near the value
        errors[self._model.codes.at_end(targets[-count:])] = ERROR_UNITS_MAX
        bounded = np.where(known[-count:], np.minimum(errors, ERROR_UNITS_MAX), 0.0)
        total: Float64 = bounded.sum(axis=1) / np.maximum(known[-count:].sum(axis=1), 1)
        return total

    def _fit_temperatures(self, outputs: Float64, targets: Float64, asked: Float64, grid: Float64) -> Float64:
        """The most probable of `grid` for each expert, float64 (m,), under a normal prior on its logarithm."""
        known = np.isfinite(targets)
        signed = np.where(targets > LABEL_THRESHOLD, outputs, -outputs)
        chosen = np.ones(len(outputs))
        for at, count in enumerate(asked):
            if not count:
                continue
            part, which = signed[at, -count:], known[-count:]
            surprises = np.array([np.logaddexp(0.0, -part[which] / t).sum() for t in grid])
            usual = SHIPPED_LOG2 if self.names[at] == SHIPPED else DISCRIMINANT_LOG2
            chosen[at] = grid[int(np.argmin(surprises + 0.5 * (np.log2(grid) - usual) ** 2))]
        return chosen


def _units(outputs: Float64, targets: Float64) -> Float64:
    """The smallest mean error of any expert, for each output; float64 (C,). outputs: float64 (m, n, C)."""
    known = np.isfinite(targets)
    errors = np.where(known, np.abs(outputs - targets), 0.0).sum(axis=1) / np.maximum(known.sum(axis=0), 1)
    units: Float64 = np.maximum(errors.min(axis=0), UNIT_MIN)
    # of an output that no row tells of
    units[~known.any(axis=0)] = 1.0
    return units
