"""Many features: labels rest as rows, few are solved from them, and nothing tells but time and memory."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner.exact.buckets import ROWS_PER_FEATURE, Buckets
from edge_agent.learner.exact.saved import packed
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.trainer import CANDIDATE, ExactTrainer
from headway.errors import StoreError
from headway.fields import Fields
from headway.maths import HalfSums, RowSums, Statistics

CLASSES = ("a", "b", "c")
SIZE = 40
# rows that a bucket of so many codes holds at most
MOST = ROWS_PER_FEATURE * SIZE
EMPTY = Statistics.zeros(SIZE, CLASSES, "s")


def samples(count: int, size: int = SIZE, moved: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    rows = np.random.default_rng(9).normal(0, 25, (3, size))[labels] + moved + random.normal(0, 20, (count, size))
    return np.clip(np.rint(rows), -127, 127).astype(np.int8), labels


def of(codes: np.ndarray, labels: np.ndarray) -> Statistics:
    return Statistics.of(codes, labels, CLASSES, "s")


def filled(count: int) -> Buckets:
    buckets = Buckets(EMPTY, 16, 12)
    codes, labels = samples(count)
    for start in range(0, count, 7):
        buckets.add(codes[start : start + 7], labels[start : start + 7])
    return buckets


def forms(buckets: Buckets) -> list[type]:
    return [type(bucket.sums) for bucket in buckets._buckets]


def restored(buckets: Buckets, border: int = 0) -> Buckets:
    other = Buckets(EMPTY, 16, 12)
    other.restore(*buckets.state(), border)
    return other


def test_rows_are_kept_while_they_are_smaller_than_sums() -> None:
    for bucket in filled(3000)._buckets:
        assert isinstance(bucket.sums, RowSums) == (bucket.end - bucket.first <= MOST)
    assert {RowSums, HalfSums} == set(forms(filled(3000)))


@pytest.mark.parametrize("count", [30, 3000])
def test_corrections_in_rows_and_in_sums_are_exact_and_survive_a_restart(count: int) -> None:
    codes, labels = samples(count)
    buckets, kept = filled(count), np.ones(count, bool)
    for number, after in ((3, 1), (4, None), (5, None), (count - 1, None), (count - 2, 2), (6, 0)):
        buckets.change(number, codes[number : number + 1], int(labels[number]), after)
        if after is None:
            kept[number] = False
        else:
            labels[number] = after
        for one in (buckets, restored(buckets)):
            assert one.total == of(codes[kept], labels[kept])
            assert one.labels == count
            np.testing.assert_array_equal(one.counts, of(codes[kept], labels[kept]).counts)
    # what was removed is counted in numbers, so that the next correction finds its row
    again = restored(buckets)
    again.change(7, codes[7:8], int(labels[7]), None)
    kept[7] = False
    assert again.total == of(codes[kept], labels[kept])


def test_a_code_that_no_row_has_changes_the_sums_all_the_same() -> None:
    codes, labels = samples(30)
    buckets, other = filled(30), np.full((1, SIZE), 3, np.int8)
    buckets.change(5, other, int(labels[5]), None)
    assert buckets.total == of(codes, labels) - of(other, labels[5:6])
    assert buckets.rows is None


@pytest.mark.parametrize("at", [5, 16, 27])
def test_a_drift_divides_rows_wherever_it_began(at: int) -> None:
    codes, labels = samples(30)
    buckets = filled(30)
    buckets.change(4, codes[4:5], int(labels[4]), None)
    buckets.change(28, codes[28:29], int(labels[28]), None)
    kept = ~np.isin(np.arange(30), (4, 28))
    nothing = samples(0)
    assert buckets.begin_at(at, *nothing) == at
    for one in (buckets, restored(buckets, at)):
        newer = kept & (np.arange(30) >= at)
        assert one.recent(30 - at).statistics("s") == of(codes[newer], labels[newer])
        assert one.total == of(codes[kept], labels[kept])
        one.change(29, codes[29:30], int(labels[29]), None)
        kept[29] = False
        assert one.total == of(codes[kept], labels[kept])
        kept[29] = True


def test_a_full_bucket_that_a_drift_divides_takes_labels_again() -> None:
    codes, labels = samples(60)
    buckets = Buckets(EMPTY, 16, 12)
    buckets.add(codes[:16], labels[:16])
    assert buckets.total == of(codes[:16], labels[:16])
    buckets.begin_at(10, *samples(0))
    for row in range(16, 60):
        buckets.add(codes[row : row + 1], labels[row : row + 1])
        assert buckets.total == of(codes[: row + 1], labels[: row + 1])


def test_2000_labels_of_1280_features_rest_in_their_rows() -> None:
    codes, labels = samples(2000, 1280)
    buckets = Buckets(Statistics.zeros(1280, CLASSES, "s"), 64, 32)
    for start in range(0, 2000, 250):
        buckets.add(codes[start : start + 250], labels[start : start + 250])
    held = [bucket.sums for bucket in buckets._buckets]
    assert all(isinstance(sums, RowSums) for sums in held)
    assert sum(sums.codes.nbytes for sums in held if isinstance(sums, RowSums)) == 2000 * 1280
    tensors, _ = buckets.state()
    assert sum(array.nbytes for array in tensors.values()) < 2000 * (1280 + 10)


def test_beyond_the_longest_look_back_there_is_one_bucket() -> None:
    buckets = Buckets(EMPTY, 16, 60, lookback_labels=200)
    codes, labels = samples(2000)
    for start in range(0, 2000, 16):
        buckets.add(codes[start : start + 16], labels[start : start + 16])
    ends = [bucket.end for bucket in buckets._buckets]
    assert [end for end in ends if end <= 2000 - 200] == ends[:1]
    assert buckets.total == of(codes, labels)
    for look_back in (16, 100, 200):
        newest = buckets.recent(look_back)
        assert look_back <= newest.samples <= look_back + 16
        assert newest.statistics("s") == of(codes[-newest.samples :], labels[-newest.samples :])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("codes", lambda array: array[1:]),
        ("labels", lambda array: array + 3),
        ("labels", lambda array: array - 3),
        ("removed", lambda array: array + 100),
        ("removed", lambda array: np.repeat(array, 2)),
    ],
)
def test_damaged_rows_are_refused(name: str, change: object) -> None:
    buckets, (codes, labels) = filled(30), samples(30)
    buckets.change(4, codes[4:5], int(labels[4]), None)
    tensors, ranges = buckets.state()
    broken = {**tensors, f"bucket.0.{name}": change(tensors[f"bucket.0.{name}"])}  # type: ignore[operator]
    with pytest.raises(StoreError, match=r"bucket.0|bucket 0"):
        Buckets(EMPTY, 16, 12).restore(broken, ranges)


def test_a_state_of_sums_opens_and_learns_on() -> None:
    """Earlier versions saved nothing else."""
    codes, labels = samples(60)
    tensors = packed(of(codes[:30], labels[:30]), "bucket.0") | packed(of(codes[30:50], labels[30:50]), "bucket.1")
    buckets = Buckets(EMPTY, 16, 12)
    buckets.restore(tensors, [[0, 30], [30, 50]])
    buckets.add(codes[50:], labels[50:])
    assert buckets.total == of(codes, labels)
    assert restored(buckets).total == of(codes, labels)


def test_sums_of_an_earlier_version_become_rows_where_these_are_known() -> None:
    codes, labels = samples(50)
    tensors = packed(of(codes[:30], labels[:30]), "bucket.0") | packed(of(codes[30:], labels[30:]), "bucket.1")
    other = (labels + 1) % 3
    for rows, answers, expected in (
        (codes, labels, [RowSums, RowSums]),
        (codes, np.r_[labels[:30], other[30:]], [RowSums, HalfSums]),
        (codes[1:], labels[1:], [HalfSums, HalfSums]),
    ):
        buckets = Buckets(EMPTY, 16, 12)
        buckets.restore(tensors, [[0, 30], [30, 50]])
        buckets.take_rows(rows, answers)
        assert forms(buckets) == expected
        assert buckets.total == of(codes, labels)


ROW_SIZE = ExactSettings().row_features + 12
FROM_SUMS = ExactSettings(row_features=1 << 20)


def life(trainer: ExactTrainer, count: int) -> None:
    """Labels, corrections, a removal, a drift, a fleet's prior and a new class."""
    codes, labels = samples(count, ROW_SIZE, moved=8.0, seed=3)
    for row in range(count):
        trainer.learn(codes[row : row + 1], labels[row : row + 1])
        if row == 20:
            trainer.correct(7, codes[7:8], int(labels[7]), int(labels[7] + 1) % 3)
        if row == 30:
            trainer.adopt_prior(Statistics.of(*samples(90, ROW_SIZE, moved=3.0, seed=4), CLASSES, "s"))
            trainer.correct(9, codes[9:10], int(labels[9]), None)
        if row == 40:
            trainer.drifted(25)
        if row == 45:
            trainer.with_classes((*CLASSES, "d"))


@pytest.mark.parametrize("count", [15, 60, 90])
def test_heads_from_rows_are_those_from_sums(count: int) -> None:
    training = Statistics.of(*samples(500, ROW_SIZE), CLASSES, "s")
    rows, sums = ExactTrainer(training), ExactTrainer(training, FROM_SUMS)
    assert ExactSettings().from_rows(ROW_SIZE, 60)
    for trainer in (rows, sums):
        life(trainer, count)
    assert rows.statistics == sums.statistics
    found, expected = rows.candidates()[CANDIDATE], sums.candidates()[CANDIDATE]
    np.testing.assert_allclose(found.kernel, expected.kernel, rtol=0, atol=2e-6 * np.abs(expected.kernel).max())
    np.testing.assert_allclose(found.bias, expected.bias, rtol=2e-5, atol=1e-5)
    for name, losses in sums.leave_one_out().items():
        np.testing.assert_allclose(rows.leave_one_out()[name], losses, atol=1e-5)


def test_what_is_saved_of_few_labels_is_little_more_than_their_rows() -> None:
    training = Statistics.of(*samples(500, ROW_SIZE), CLASSES, "s")
    trainer = ExactTrainer(training)
    life(trainer, 60)
    tensors, values = trainer.state()
    fleet = sum(array.nbytes for name, array in tensors.items() if name.startswith("fleet"))
    # once in a bucket, once as evidence
    assert sum(array.nbytes for array in tensors.values()) - fleet < 2.2 * 60 * ROW_SIZE
    again = ExactTrainer(training)
    again.with_classes((*CLASSES, "d"))
    again.restore(tensors, Fields(values, "saved", StoreError))
    head, other = trainer.candidates()[CANDIDATE], again.candidates()[CANDIDATE]
    assert head.kernel.tobytes() == other.kernel.tobytes()
