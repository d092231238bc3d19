"""Reading changes nothing: the same operations give the same bits, however often anybody looked in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.trainer import CANDIDATE, ExactTrainer
from headway.arrays import Int8
from headway.errors import StoreError
from headway.fields import Fields
from headway.maths.statistics import Statistics
from headway.tensors import encode_tensors
from tests.nightly import nightly

CLASSES = ("a", "b", "c")
FEW, SMALL = ExactSettings().few_labels, ExactSettings().small_features
# so many codes that up to 67 labels are solved from their rows
ROWS = ExactSettings().row_features + 12
Operation = Callable[[ExactTrainer], None]


def life(size: int, labels: int, seed: int) -> tuple[Statistics, list[Operation]]:
    """Statistics of training data, and everything that can happen to a trainer, in an order that `seed` draws."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 25, (4, size))

    def codes_of(classes: np.ndarray, moved: float = 0.0) -> np.ndarray:
        rows = centres[classes] + moved + random.normal(0, 20, (len(classes), size))
        return np.clip(np.rint(rows), -127, 127).astype(np.int8)

    def statistics(count: int, moved: float) -> Statistics:
        classes = random.integers(0, 3, count)
        return Statistics.of(codes_of(classes, moved), classes, CLASSES, "s")

    training, fleet = statistics(200, 0.0), statistics(60, 5.0)
    known = random.integers(0, 3, labels)
    codes = codes_of(known, moved=12.0)
    operations: list[Operation] = []

    truth: list[int | None] = known.tolist()
    seen = codes_of(np.arange(30) % 3)
    for row in range(labels):
        operations.append(partial(ExactTrainer.learn, codes=codes[row : row + 1], labels=known[row : row + 1]))
        kind, at = random.integers(0, 40), int(random.integers(0, row + 1))
        before = truth[at]
        if kind == 0 and before is not None:
            truth[at] = None if at % 2 else (before + 1) % 3
            code = codes[at : at + 1]
            operations.append(partial(ExactTrainer.correct, number=at, code=code, before=before, after=truth[at]))
        elif kind in (1, 2, 3, 4, 5):
            code = codes_of(np.array([row % 3]))
            operations.append(partial(ExactTrainer.add_pseudo_label, code=code, label=row % 3))
            if kind == 5:
                operations.append(partial(ExactTrainer.withdraw_pseudo_label, code=code, label=row % 3))
        elif kind == 6:
            operations.append(partial(ExactTrainer.drifted, since=max(0, row - 20)))
        if row < 12:
            operations.append(partial(see, codes=seen))
    operations.insert(len(operations) // 5, partial(ExactTrainer.adopt_prior, statistics=fleet))
    operations.insert(len(operations) // 3, partial(ExactTrainer.with_classes, classes=(*CLASSES, "d")))
    operations.insert(len(operations) // 2, partial(ExactTrainer.renamed, renames=[("d", "e")]))
    return training, operations


def see(trainer: ExactTrainer, codes: Int8) -> None:
    """Windows without a label, after a label."""
    class_sums = trainer.guess_windows(codes)
    if class_sums is not None:
        trainer.adopt_window_means(class_sums)


def bits(trainer: ExactTrainer) -> tuple[bytes, bytes, bytes]:
    """State and head, to the bit."""
    state = encode_tensors(*trainer.state())
    head = trainer.candidates()[CANDIDATE]
    return state, head.kernel.tobytes(), head.bias.tobytes()


def look(trainer: ExactTrainer, random: np.random.Generator) -> None:
    """Some of what reads."""
    readers: Sequence[Callable[[], object]] = (trainer.candidates, trainer.leave_one_out, trainer.state)
    for reader in random.choice(3, 2, p=(0.6, 0.3, 0.1)).tolist():
        readers[reader]()


@pytest.mark.parametrize(
    ("size", "labels"),
    [
        *((10, n) for n in (15, FEW - 1, FEW, FEW + 1)),
        (SMALL + 12, FEW),
        (ROWS, 100),
        nightly(10, 600),
        nightly(SMALL + 12, 200),
    ],
)
def test_reading_in_between_changes_no_bit(size: int, labels: int) -> None:
    training, operations = life(size, labels, seed=labels)
    quiet, read = ExactTrainer(training), ExactTrainer(training)
    random = np.random.default_rng(1)
    for operation in operations:
        operation(quiet)
        look(read, random)
        operation(read)
        look(read, random)
    assert bits(quiet) == bits(read)


@pytest.mark.parametrize(("size", "labels"), [(10, 300), (SMALL + 12, 160), (ROWS, 100)])
def test_nor_does_a_restart(size: int, labels: int) -> None:
    training, operations = life(size, labels, seed=3)
    straight, restarted = ExactTrainer(training), ExactTrainer(training)
    for number, operation in enumerate(operations):
        operation(straight)
        operation(restarted)
        if number % 11:
            continue
        tensors, values = restarted.state()
        names = restarted.statistics.classes
        restarted = ExactTrainer(training)
        restarted.with_classes(names)
        restarted.restore(tensors, Fields(values, "saved", StoreError))
        assert bits(straight) == bits(restarted), f"after operation {number}"
