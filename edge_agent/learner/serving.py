"""What a device answers: the probabilities of the head in service, made only as sure as they have proved to be right.

    frozen head   divided by the temperature that fits it to this device's labels (gate/frozen_score.py)
    learned head  mixed with the frozen one where nobody labelled what the window may be, then divided by a temperature
                  that what it served before each label has earned
    values        while labels are few between those of both heads, nearer to the learned one the surer it is the better

A temperature never changes an answer; the mixture may. The gate judges by labels, and a class without any it cannot
judge: there the frozen head, which was tested on it before it shipped, keeps most of the say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from headway.arrays import AnyArray, Bools, Float32, Float64, Int64
from headway.errors import StoreError
from headway.maths import LABEL_THRESHOLD, TEMPERATURES, Task, log_softmax
from headway.samples import Label

# of the probability where the frozen head names a class without a label: it decides unless the learned one is half as
# sure again of something else
FROZEN_SHARE = 0.6
# each label counts for so much less than the next one: sensors change, and so does the head
DISCOUNT = 0.99
ROWS = 256
# the prior on log2 of a learned head's temperature, normal around 0: its logits were fitted to labels already
TEMPERATURE_LOG2_DEVIATION = 0.5
# a label may be wrong
LOSS_MAX = 8.0
# the least that an added class leaves to the answer of the frozen head, which cannot name it
ANSWER_LEAD = 0.999

PARTS = ("numbers", "logits", "losses")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was served. probability: float32 (n, C), a regression's values; served_by: the head that made it.

    temperature: the last one that its logits were divided by, so that labels can judge it.
    """

    probability: Float32
    served_by: str
    temperature: float = 1.0

    @property
    def classes(self) -> Int64:
        """Most probable class per row, int64 (n,); of a classifier."""
        return np.asarray(self.probability.argmax(axis=1), dtype=np.int64)


def tempered(probability: Float32, temperature: float, task: Task) -> Float32:
    """Probabilities float32 (n, C), their logits divided by `temperature`; answers and a regression's values stay."""
    if temperature == 1.0 or task is Task.REGRESSION:
        return probability
    power = np.power(probability.astype(np.float64), 1.0 / temperature)
    if task is Task.MULTI_LABEL:
        other = np.power(1.0 - probability.astype(np.float64), 1.0 / temperature)
        result = (power / (power + other)).astype(np.float32)
        # a temperature can round a close no to a half
        no = np.nextafter(np.float32(LABEL_THRESHOLD), np.float32(0.0))
        return np.asarray(np.where(probability < LABEL_THRESHOLD, np.minimum(result, no), result))
    return _answering((power / power.sum(axis=1, keepdims=True)).astype(np.float32), probability)


def beside(learned: Float32, frozen: Float32, share: float, unlabelled: Bools, added: Bools) -> Float32:
    """A learned head's probabilities where the frozen head still has a say; float32 (n, C).

    share: what it has everywhere, see `Gate.frozen_share`; the weighted mean of both heads' log-probabilities, which
    leaves the answer to the one that is surer. Where it names a class without a label, the two are averaged, the frozen
    one at `FROZEN_SHARE`. Where it names another, the window may still be of one: it has that share times the share of
    such classes.
    frozen: float32 (n, C); unlabelled: bool (C,), of the classes that may be predicted; added: bool (C,), those that
    the frozen head does not know, of which it says what the learned one says.
    """
    others = learned[:, added]
    # a sum that rounding made more than one leaves nothing
    whole: Float32 = frozen * np.maximum(1.0 - others.sum(axis=1, keepdims=True), 0.0)
    whole[:, added] = others
    mixed = learned
    if share:
        product = np.power(learned.astype(np.float64), 1.0 - share) * np.power(whole.astype(np.float64), share)
        mixed = (product / product.sum(axis=1, keepdims=True)).astype(np.float32)
    if not unlabelled.any():
        return mixed
    chances = np.where(unlabelled[frozen.argmax(axis=1)], 1.0, unlabelled.mean())
    weight = (FROZEN_SHARE * chances)[:, None].astype(np.float32)
    return np.asarray((1.0 - weight) * mixed + weight * whole)


def between(frozen: Float32, learned: Float32, part: float) -> Float32:
    """Values of both heads, of which the learned one says `part`, 0 to 1, see `Gate.learned_share`; float32 (n, C)."""
    return np.asarray(frozen + np.float32(part) * (learned - frozen), np.float32)


def with_missed(frozen: Float32, share: float, added: Bools) -> Float32:
    """The frozen head's probabilities, `share` of them given to the classes that it cannot name; float32 (n, C).

    share: of the device's labels that were of such a class; added: bool (C,), those classes. Never so much that one of
    them becomes the answer.
    """
    count = int(added.sum())
    if not share or not count:
        return frozen
    top = count * frozen.max(axis=1, keepdims=True)
    given = np.minimum(share, ANSWER_LEAD * top / (1.0 + top)).astype(np.float32)
    result = frozen * (1.0 - given)
    result[:, added] = given / count
    return _answering(result, frozen)


@dataclass(frozen=True, slots=True)
class ServedLabels:
    """The newest labels that one head served. numbers: int64 (n,), which labels of the device they are.

    logits: float64 (n, C), served before the temperature, -inf for classes that were not known then. losses:
    float64 (n, G), log-losses in nats at each of `TEMPERATURES`.
    """

    numbers: Int64
    logits: Float64
    losses: Float64

    @classmethod
    def none(cls) -> ServedLabels:
        return cls(np.zeros(0, np.int64), np.zeros((0, 0)), np.zeros((0, len(TEMPERATURES))))

    @property
    def temperature(self) -> float:
        """The posterior mean, of its logarithm; 1 without any label."""
        if not len(self.numbers):
            return 1.0
        weights = np.power(DISCOUNT, np.arange(len(self.numbers) - 1, -1, -1, dtype=np.float64))
        steps = np.log2(TEMPERATURES)
        surprise = weights @ self.losses + 0.5 * (steps / TEMPERATURE_LOG2_DEVIATION) ** 2
        posterior = np.exp(surprise.min() - surprise)
        return float(np.exp2(posterior @ steps / posterior.sum()))

    def plus(self, number: int, logits: Float64, losses: Float64) -> ServedLabels:
        """With one more. logits: float64 (C,); losses: float64 (G,)."""
        width, kept = max(len(logits), self.logits.shape[1]), slice(-(ROWS - 1), None)
        return ServedLabels(
            np.append(self.numbers[kept], number),
            np.concatenate([_widened(self.logits[kept], width), _widened(logits[None], width)]),
            np.concatenate([self.losses[kept], losses[None]]),
        )

    def corrected(self, number: int, after: Label | None) -> ServedLabels:
        """With another label, or none, in place of the `number`-th."""
        found = np.flatnonzero(self.numbers == number)
        if not len(found):
            return self
        losses = None if after is None else losses_by_temperature(self.logits[found[0]], after)
        if losses is not None:
            return replace(self, losses=np.where((self.numbers == number)[:, None], losses, self.losses))
        kept = self.numbers != number
        return ServedLabels(self.numbers[kept], self.logits[kept], self.losses[kept])


class ServedTemperatures:
    """A temperature for each learned head, by how sure it was of the newest labels before it knew them.

    The most that leave-one-out can tell is flattered where windows are near copies of each other; what was served to a
    window before its label came is not. Losses are kept by label, so that a wrong one can be put right by its number.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._labels: dict[str, ServedLabels] = {}
        self._found: dict[str, float] = {}

    def prediction(self, probability: Float32, head: str, unlabelled: float = 0.0) -> Prediction:
        """Serve what `head` says, float32 (n, C), at its temperature; the less surely the more classes no label judges.

        unlabelled: share of classes without a label here.
        """
        if head not in self._found:
            self._found[head] = self._labels.get(head, ServedLabels.none()).temperature
        temperature = self._found[head] * 2.0 ** (TEMPERATURE_LOG2_DEVIATION * unlabelled)
        return Prediction(tempered(probability, temperature, self._task), head, temperature)

    def learn(self, number: int, served: Prediction, label: Label) -> None:
        """The label of a window came, the `number`-th of this device. served: what was answered, of one window."""
        if self._task is Task.REGRESSION:
            return
        logits = _logits(served.probability[0], self._task) * served.temperature
        losses = losses_by_temperature(logits, label)
        if losses is not None:
            labels = self._labels.get(served.served_by, ServedLabels.none())
            self._labels[served.served_by] = labels.plus(number, logits, losses)
            self._found = {}

    def correct(self, number: int, after: Label | None) -> None:
        """Label `number` is another one, or none: as if that had come in the first place."""
        self._labels = {head: labels.corrected(number, after) for head, labels in self._labels.items()}
        self._found = {}

    def state(self) -> dict[str, AnyArray]:
        """By head and part, e.g. ``exact.losses``."""
        return {f"{head}.{part}": getattr(labels, part) for head, labels in self._labels.items() for part in PARTS}

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`; nothing where there is none. Raises StoreError."""
        self._labels, self._found = {}, {}
        for head in sorted({name.rpartition(".")[0] for name in tensors}):
            numbers, logits, losses = (tensors[f"{head}.{part}"] for part in PARTS)
            rows = len(numbers)
            fits = numbers.shape == (rows,) and logits.ndim == 2 and len(logits) == rows <= ROWS
            whole = numbers.dtype == np.int64 and logits.dtype == losses.dtype == np.float64
            if not (fits and whole) or losses.shape != (rows, len(TEMPERATURES)) or not np.isfinite(losses).all():
                raise StoreError(f"saved temperatures of what {head!r} served are damaged")
            self._labels[head] = ServedLabels(numbers, logits, losses)


def losses_by_temperature(logits: Float64, label: Label) -> Float64 | None:
    """Log-losses at each of `TEMPERATURES`, float64 (G,), in nats. None of a class that was not known when it served.

    logits: float64 (C,), -inf where there was no probability. label: a class index, or targets float32 (C,).
    """
    at = logits / TEMPERATURES[:, None]
    if isinstance(label, int):
        known = label < len(logits) and bool(np.isfinite(logits[label]))
        return np.minimum(-log_softmax(at)[:, label], LOSS_MAX) if known else None
    given = ~np.isnan(label)
    signed = np.where(label > LABEL_THRESHOLD, at, -at)[:, given]
    return np.minimum(np.logaddexp(0.0, -signed), LOSS_MAX).sum(axis=1) if given.any() else None


def _answering(probability: Float32, like: Float32) -> Float32:
    """The same, where rounding made two classes equal the answer of `like` a hair ahead; float32 (n, C)."""
    rows, answer = np.arange(len(like)), like.argmax(axis=1)
    if (probability.argmax(axis=1) != answer).any():
        probability[rows, answer] = np.nextafter(probability.max(axis=1), np.float32(2.0))
    return probability


def _logits(probability: Float32, task: Task) -> Float64:
    """Up to a constant; float64 (C,), -inf where there is no probability."""
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        if task is Task.MULTI_LABEL:
            limits = np.finfo(np.float32)
            return np.asarray(np.log(np.maximum(p, limits.tiny)) - np.log(np.maximum(1.0 - p, limits.tiny)))
        return np.asarray(np.log(p))


def _widened(logits: Float64, width: int) -> Float64:
    """With columns for classes that were not known then; float64 (n, width)."""
    if logits.shape[1] == width:  # as with nearly every label
        return logits
    return np.concatenate([logits, np.full((len(logits), width - logits.shape[1]), -np.inf, logits.dtype)], axis=1)
