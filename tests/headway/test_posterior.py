"""The posterior LDA head, and its leave-one-out logits against taking each sample out for real."""

from __future__ import annotations

import numpy as np
import pytest

from headway.errors import LocalError
from headway.maths.posterior import Posterior, TrainingPrior
from headway.maths.solve import blend, lda_head
from headway.maths.statistics import Statistics
from tests.arrays import assert_close, assert_same

CLASSES = ("a", "b", "c")


def tables(count: int, seed: int, classes: tuple[str, ...] = CLASSES) -> tuple[np.ndarray, np.ndarray, Statistics]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = np.random.default_rng(0).normal(0, 30, (3, 6))
    codes = np.clip(np.rint(centres[labels] + random.normal(0, 12, (count, 6))), -127, 127).astype(np.int8)
    return codes, labels, Statistics.of(codes, labels, classes, "s")


@pytest.mark.parametrize("k", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("local_priors", [False, True])
@pytest.mark.parametrize("count", [4, 25])
def test_leave_one_out_is_leaving_one_out(k: float, local_priors: bool, count: int) -> None:
    prior = TrainingPrior.of(tables(300, seed=1)[2])
    codes, labels, local = tables(count, seed=2)
    found = Posterior(prior, local, k).leave_one_out(codes, labels, (local_priors,))[0]
    for row in range(count):
        without = local - Statistics.of(codes[row : row + 1], labels[row : row + 1], CLASSES, "s")
        head = Posterior(prior, without, k).head()
        expected = head.logits(codes[row : row + 1].astype(np.float32))[0]
        # class priors are those of all labels: one count more or less is no matter of the sample's features
        expected -= np.log(1 / 3)
        counts = local.counts + 1.0
        expected = expected + np.log(counts / counts.sum() if local_priors else np.full(3, 1 / 3))
        assert_close(found[row], expected, atol=2e-2, where=f"{row}")


def test_without_labels_it_is_the_source() -> None:
    source = tables(300, seed=1)[2]
    posterior = Posterior(TrainingPrior.of(source), Statistics.zeros(6, CLASSES, "s"), 2.0)
    codes, labels, _ = tables(200, seed=3)
    assert (posterior.head().logits(codes.astype(np.float32)).argmax(axis=1) == labels).mean() > 0.9


def test_many_labels_take_over() -> None:
    prior = TrainingPrior.of(tables(300, seed=1)[2])
    codes, labels, _ = tables(4000, seed=4)
    swapped = (labels + 1) % 3
    head = Posterior(prior, Statistics.of(codes, swapped, CLASSES, "s"), 2.0).head()
    assert (head.logits(codes.astype(np.float32)).argmax(axis=1) == swapped).mean() > 0.9


def test_a_class_the_source_never_saw_comes_from_local_labels_alone() -> None:
    codes, labels, _ = tables(300, seed=1)
    known = labels != 2
    prior = TrainingPrior.of(Statistics.of(codes[known], labels[known], ("a", "b"), "s"))
    local = Statistics.of(codes[~known][:5], np.full(5, 2), CLASSES, "s")
    head = Posterior(prior, local, 2.0).head()
    assert head.classes == CLASSES
    assert (head.logits(codes.astype(np.float32)).argmax(axis=1) == labels).mean() > 0.9


def test_a_source_without_samples_is_refused() -> None:
    with pytest.raises(LocalError, match="no sample"):
        TrainingPrior.of(Statistics.zeros(6, CLASSES, "s"))


def test_it_is_the_posterior_of_the_pooled_samples() -> None:
    """With the source worth exactly its samples, mean and scatter are those of all samples taken together."""
    _, _, local = tables(60, seed=2)
    counts = np.array([40, 40, 40])
    random = np.random.default_rng(5)
    source_labels = np.repeat(np.arange(3), counts)
    source_codes = np.clip(np.rint(random.normal(0, 40, (120, 6))), -127, 127).astype(np.int8)
    source = Statistics.of(source_codes, source_labels, CLASSES, "s")
    prior = TrainingPrior.of(source)
    head = Posterior(prior, local, 40.0, worth=(120 - 3) / 6).head()
    pooled = blend([(1.0, source + local)])
    # the source's own covariance is shrunk a little before it enters; the rest is pooled LDA, to the last digits
    shrunk = blend([(1.0, source)]).within_scatter() / 117
    scatter = pooled.within_scatter() + 117 * (prior.covariance - shrunk)
    expected = lda_head(scatter / (117 + 60), pooled.means(), np.full(3, 1 / 3), CLASSES)
    assert_close(head.kernel, expected.kernel, rtol=1e-4, atol=1e-6)
    assert_close(head.bias, expected.bias, rtol=1e-4, atol=1e-5)


def test_heads_differ_in_priors_only() -> None:
    prior = TrainingPrior.of(tables(300, seed=1)[2])
    uniform, own = Posterior(prior, tables(50, seed=2)[2], 2.0).heads((False, True))
    assert_same(uniform.kernel, own.kernel)
    assert not np.array_equal(uniform.bias, own.bias)


@pytest.mark.parametrize("known", [("a", "b", "c"), ("a", "b")])
def test_samples_taken_in_one_by_one_give_the_same_head(known: tuple[str, ...]) -> None:
    codes, labels, source = tables(300, seed=1)
    if known != CLASSES:
        kept = labels != 2
        source = Statistics.of(codes[kept], labels[kept], known, "s")
    prior = TrainingPrior.of(source)
    codes, labels, local = tables(90, seed=2)
    start = Statistics.zeros(6, CLASSES, "s")
    running = Posterior(prior, start, 2.0).running()
    for code, label in zip(codes, labels.tolist(), strict=True):
        running.add(code, label)
    for one, other in zip(running.heads((False, True)), Posterior(prior, local, 2.0).heads((False, True)), strict=True):
        assert_close(one.kernel, other.kernel, rtol=1e-5, atol=1e-7)
        assert_close(one.bias, other.bias, rtol=1e-5, atol=1e-5)
