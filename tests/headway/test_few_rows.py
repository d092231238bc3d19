"""Few labels solved from their rows give what the whole matrix gives."""

from __future__ import annotations

import numpy as np
import pytest

from headway.maths import FewRows, Posterior, Ridge, RowSums, Statistics, SumOf, TrainingPrior
from headway.maths.running_posterior import ABSENT

LOCAL_PRIORS = (False, True)
# labels, codes, classes, training samples; the last class is new to the device's training data
CASES = [
    (0, 30, 3, 400),
    (1, 30, 3, 400),
    (9, 60, 5, 25),
    (40, 150, 12, 900),
    (75, 300, 10, 150),
    (20, 600, 40, 1500),
]


class Case:
    """Training data with correlated codes, and labels from a device whose sensor has moved."""

    def __init__(self, labels: int, size: int, classes: int, training: int) -> None:
        random = np.random.default_rng(labels + size)
        centres = random.normal(0, 20, (classes, size))
        mixing = random.normal(0, 20 / np.sqrt(size), (size, size))

        def draw(count: int, known: int, moved: float) -> tuple[np.ndarray, np.ndarray]:
            y = random.integers(0, known, count)
            rows = centres[y] + moved + random.normal(size=(count, size)) @ mixing + random.normal(0, 3, (count, size))
            return np.clip(np.rint(rows), -127, 127).astype(np.int8), y

        self.names = tuple(map(str, range(classes)))
        self.source = Statistics.of(*draw(training, classes - 1, 0.0), self.names[:-1], "s")
        self.prior = TrainingPrior.of(self.source)
        self.codes, self.labels = draw(labels, classes, 6.0)

    def rows(self, newest: int | None = None) -> RowSums:
        start = 0 if newest is None else len(self.codes) - newest
        return RowSums(self.codes[start:], self.labels[start:], self.names)

    def few(self) -> FewRows:
        return FewRows.of(self.prior.spread.spectrum(), self.rows(), self.prior.with_classes(self.names).means)


def assert_alike(found: Posterior | Ridge, expected: Posterior | Ridge, codes: np.ndarray, labels: np.ndarray) -> None:
    for one, other in zip(found.heads(LOCAL_PRIORS), expected.heads(LOCAL_PRIORS), strict=True):
        np.testing.assert_allclose(one.kernel, other.kernel, rtol=0, atol=1e-7 * np.abs(other.kernel).max())
        usual = other.bias > ABSENT / 2
        np.testing.assert_array_equal(one.bias[~usual], other.bias[~usual])
        np.testing.assert_allclose(one.bias[usual], other.bias[usual], atol=1e-6 * np.abs(other.bias[usual]).max())
    asked = (found.leave_one_out(codes, labels, LOCAL_PRIORS), expected.leave_one_out(codes, labels, LOCAL_PRIORS))
    for one, other in zip(*asked, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7 * np.abs(other).max(initial=1.0))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("worth", [1.0, 2.0, 10.0])
def test_few_rows_give_the_heads_of_the_whole_matrix(case: tuple[int, int, int, int], worth: float) -> None:
    data, local = Case(*case), Case(*case).rows().statistics("s")
    few, codes, labels = data.few(), data.codes, data.labels
    assert_alike(Posterior(data.prior, few.sums, worth, few=few), Posterior(data.prior, local, worth), codes, labels)
    assert_alike(Ridge(data.source, few.sums, worth, few), Ridge(data.source, local, worth), codes, labels)


@pytest.mark.parametrize("newest", [1, 8, 30])
def test_so_do_the_newest_of_them(newest: int) -> None:
    data = Case(40, 150, 12, 900)
    few, local = data.few().newest(newest), data.rows(newest).statistics("s")
    codes, labels = data.codes[-newest:], data.labels[-newest:]
    assert_alike(Posterior(data.prior, few.sums, 2.0, few=few), Posterior(data.prior, local, 2.0), codes, labels)
    assert_alike(Ridge(data.source, few.sums, 1.0, few), Ridge(data.source, local, 1.0), codes, labels)


def test_rows_in_another_order_are_left_out_as_well() -> None:
    data = Case(40, 150, 12, 900)
    few, local = data.few(), data.rows().statistics("s")
    order = np.random.default_rng(1).permutation(40)[:25]
    codes, labels = data.codes[order], data.labels[order]
    assert_alike(Posterior(data.prior, few.sums, 2.0, few=few), Posterior(data.prior, local, 2.0), codes, labels)


def test_a_prior_of_training_data_and_fleet_is_that_of_their_sum() -> None:
    data, fleet = Case(40, 150, 12, 900), Case(41, 150, 12, 900).source
    apart, together = SumOf((data.source, fleet)), data.source + fleet
    few = FewRows.of(
        TrainingPrior.of(apart).spread.spectrum(), data.rows(), TrainingPrior.of(apart).with_classes(data.names).means
    )
    local = data.rows().statistics("s")
    expected = Posterior(TrainingPrior.of(together), local, 2.0)
    for found in (
        Posterior(TrainingPrior.of(apart), few.sums, 2.0, few=few),
        Posterior(TrainingPrior.of(apart), local, 2.0),
    ):
        assert_alike(found, expected, data.codes, data.labels)
    assert_alike(Ridge(apart, few.sums, 1.0, few), Ridge(together, local, 1.0), data.codes, data.labels)


@pytest.mark.parametrize("known", [0, 15])
def test_what_follows_few_rows_is_what_follows_the_whole_matrix(known: int) -> None:
    data = Case(40, 150, 12, 900)
    start = RowSums(data.codes[:known], data.labels[:known], data.names)
    few = FewRows.of(data.prior.spread.spectrum(), start, data.prior.with_classes(data.names).means)
    running = Posterior(data.prior, start, 2.0, few=few).running()
    for code, label in zip(data.codes[known:], data.labels[known:].tolist(), strict=True):
        running.add(code, label)
    expected = Posterior(data.prior, data.rows().statistics("s"), 2.0).heads(LOCAL_PRIORS)
    for one, other in zip(running.heads(LOCAL_PRIORS), expected, strict=True):
        np.testing.assert_allclose(one.kernel, other.kernel, rtol=0, atol=1e-6 * np.abs(other.kernel).max())
        np.testing.assert_allclose(one.bias, other.bias, rtol=1e-5)


def test_a_spectrum_made_again_has_the_same_bits() -> None:
    spread = Case(40, 150, 12, 900).prior.spread
    first = spread.spectrum()
    spread.forget_spectrum()
    second = spread.spectrum()
    assert first is not second
    assert first.axes.tobytes() == second.axes.tobytes()
