"""What is rehearsed: balance over classes, source against own rows, a uniform reservoir, corrections."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner.gradient.rehearsal import Rehearsal
from headway.bundle.variant import TrainingRows
from headway.errors import StoreError
from tests.arrays import assert_same

SIZE = 2


def source() -> TrainingRows:
    """Two rows of class 0 and one of class 2, marked by a first code of 100."""
    codes = np.array([[100, 2], [100, 0], [100, 0]], np.int8)
    return TrainingRows(codes, labels=np.array([2, 0, 0]))


def test_classes_are_drawn_alike_however_many_labels_they_have() -> None:
    random, subject = np.random.default_rng(0), Rehearsal(source(), SIZE, 3, 0, 30, 4.0)
    for index in range(90):
        subject.add(np.array([index, 1], np.int8), 1, random)
    codes, labels = subject.draw(3000, random)
    assert np.bincount(labels) / 3000 == pytest.approx([1 / 3] * 3, abs=0.04)
    # the second code is the class: rows and labels belong together
    assert_same(codes[:, 1], labels)


def test_own_labels_silence_the_source_of_their_class_by_and_by() -> None:
    random, subject = np.random.default_rng(0), Rehearsal(source(), SIZE, 3, 0, 30, 4.0)
    for _ in range(12):
        subject.add(np.array([1, 0], np.int8), 0, random)
    codes, labels = subject.draw(4000, random)
    of_source = codes[:, 0] == 100
    assert of_source[labels == 0].mean() == pytest.approx(4 / 16, abs=0.03)
    np.testing.assert_array_equal(of_source[labels == 2], True)
    assert 1 not in labels


def test_the_reservoir_is_a_uniform_sample_of_all_labels() -> None:
    kept = np.zeros(40)
    for seed in range(400):
        random, subject = np.random.default_rng(seed), Rehearsal(None, SIZE, 1, 0, 10, 4.0)
        for index in range(40):
            subject.add(np.array([index, 0], np.int8), 0, random)
        kept[subject.state()["replay"][:, 0]] += 1
    assert kept / 400 == pytest.approx([0.25] * 40, abs=0.09)


def test_after_drift_new_rows_soon_replace_the_old_ones() -> None:
    """Algorithm R over the rows held then and those that follow: 10 held and 10 new leave half of each, on average."""
    shares = {True: np.zeros(100), False: np.zeros(100)}
    for renewed, share in shares.items():
        for seed in range(100):
            random, subject = np.random.default_rng(seed), Rehearsal(source(), SIZE, 3, 0, 30, 4.0)
            for index in range(90):
                subject.add(np.array([index, 0], np.int8), 0, random)
            if renewed:
                subject.renew()
            for index in range(10):
                subject.add(np.array([100 + index, 0], np.int8), 0, random)
            share[seed] = (subject.state()["replay"][:, 0] >= 100).mean()
            trusted = (subject.draw(500, random)[0][:, 0] == 100).mean()
            assert trusted < 0.75, "the source counts for no more than before"
    assert shares[True].mean() == pytest.approx(0.5, abs=0.04)
    assert shares[False].mean() == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("room", [6, 30, 60])
def test_a_renewed_reservoir_survives_a_restart_also_with_more_or_less_room(room: int) -> None:
    random, subject = np.random.default_rng(0), Rehearsal(None, SIZE, 3, 0, 30, 4.0)
    for index in range(40):
        subject.add(np.array([index, 1], np.int8), 1, random)
    subject.renew()
    again = Rehearsal(None, SIZE, 3, 0, room, 4.0)
    again.restore(subject.state())
    for index in range(30):
        again.add(np.array([50 + index, 1], np.int8), 1, random)
    state = again.state()
    assert len(state["replay"]) == room // 3, "every place is taken"
    np.testing.assert_array_equal(state["replay"][:, 1], 1, err_msg="by rows that were added")
    with pytest.raises(StoreError):
        again.restore(subject.state() | {"passed": np.array([-1, 0, 0])})


def test_a_wrong_label_is_no_longer_rehearsed() -> None:
    random, subject = np.random.default_rng(0), Rehearsal(None, SIZE, 2, 0, 8, 4.0)
    for index in range(3):
        subject.add(np.array([index, 0], np.int8), 0, random)
    subject.forget(np.array([1, 0], np.int8), 0)
    subject.forget(np.array([1, 0], np.int8), 0)
    assert sorted(subject.state()["replay"][:, 0].tolist()) == [0, 2]
    assert 1 not in subject.draw(200, random)[0][:, 0]


def test_targets_stay_with_their_rows_unknown_ones_too() -> None:
    random, subject = np.random.default_rng(0), Rehearsal(None, SIZE, 1, 2, 8, 4.0)
    for index in range(5):
        subject.add(np.array([index, 0], np.int8), np.array([index, np.nan], np.float32), random)
    codes, targets = subject.draw(100, random)
    assert_same(codes[:, 0], targets[:, 0])
    np.testing.assert_array_equal(np.isnan(targets[:, 1]), True)
    subject.forget(np.array([3, 0], np.int8), np.array([3, np.nan], np.float32))
    assert 3 not in subject.draw(200, random)[0][:, 0]


def test_nothing_to_draw_from_gives_an_empty_batch() -> None:
    codes, labels = Rehearsal(None, SIZE, 3, 0, 9, 4.0).draw(5, np.random.default_rng(0))
    assert codes.shape == (0, SIZE)
    assert labels.shape == (0,)


def test_state_survives_more_classes_and_less_room() -> None:
    random, subject = np.random.default_rng(0), Rehearsal(source(), SIZE, 3, 0, 30, 4.0)
    for index in range(8):
        subject.add(np.array([index, 1], np.int8), 1, random)
    subject.with_groups(5)
    assert sorted(subject.state()["replay"][:, 0].tolist()) == [0, 1, 2, 3, 4, 5]
    subject.add(np.array([9, 4], np.int8), 4, random)
    again = Rehearsal(source(), SIZE, 5, 0, 30, 4.0)
    again.restore(subject.state())
    first, second = (r.draw(50, np.random.default_rng(1)) for r in (subject, again))
    assert_same(first[0], second[0])
    with pytest.raises(StoreError):
        Rehearsal(None, SIZE + 1, 5, 0, 30, 4.0).restore(subject.state())
    with pytest.raises(StoreError):
        again.restore({})
