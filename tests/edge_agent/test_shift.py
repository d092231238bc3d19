"""Drift by features, without a label."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner.drift.features import BLOCK_ROWS, FeatureShift, Shift
from headway.arrays import Float32, Int8
from headway.durable import checked
from headway.errors import StoreError
from tests.edge_agent.variants import SIZE, variant

SEEN = 8000


def activities(seed: int, moved: float = 0.0, after: int = 3000) -> Int8:
    """Codes of a device that does one thing for a while, then another; `moved` is added to all features at the end."""
    random = np.random.default_rng(seed)
    centres = 4.0 * np.eye(3, SIZE) + random.normal(0, 0.5, (3, SIZE))
    runs = np.repeat(random.integers(0, 3, 1000), random.integers(1, 80, 1000))[: SEEN + after]
    x: Float32 = (centres[runs] + random.normal(0, 0.7, (len(runs), SIZE))).astype(np.float32)
    x[SEEN:] += np.float32(moved)
    return variant().features.codes(x)[0]


def watch(codes: Int8, batch: int = 50) -> list[Shift]:
    subject = FeatureShift(variant().training_statistics)
    found = [subject.add(codes[start : start + batch]) for start in range(0, len(codes), batch)]
    return [shift for shift in found if shift is not None]


def test_a_change_of_activity_is_no_drift() -> None:
    assert sum(len(watch(activities(seed))) for seed in range(10)) <= 1


def test_a_moved_sensor_is_found_once_with_evidence() -> None:
    delays, alarms = [], 0
    for seed in range(10):
        found = [shift for shift in watch(activities(seed, moved=1.0)) if shift.window > SEEN]
        alarms += len(found)
        delays.append(found[0].window - SEEN)
        assert found[0].mean_shift > 0.3
        assert found[0].distance > 1.2 * found[0].distance_before
    assert 10 <= alarms <= 11
    assert np.median(delays) <= 6 * BLOCK_ROWS


def test_a_sensor_that_went_silent_is_found() -> None:
    codes = activities(1)
    codes[SEEN:] = codes[SEEN]
    found = [shift for shift in watch(codes) if shift.window > SEEN]
    assert found
    assert found[0].spread < 0.7


def test_a_saturated_sensor_is_found_by_its_clipped_codes() -> None:
    codes = activities(2)
    codes[SEEN:, 5] = 127
    assert [shift for shift in watch(codes) if shift.window > SEEN]


def test_batches_of_any_size_give_the_same_alarms() -> None:
    codes = activities(3, moved=1.0)
    subject = FeatureShift(variant().training_statistics)
    one_by_one = [s for row in range(len(codes)) if (s := subject.add(codes[row : row + 1])) is not None]
    by_block = watch(codes, BLOCK_ROWS)
    assert one_by_one == by_block
    assert by_block


def test_saved_and_restored() -> None:
    codes = activities(4, moved=1.0)
    whole, part = FeatureShift(variant().training_statistics), FeatureShift(variant().training_statistics)
    cut = SEEN - SEEN % BLOCK_ROWS
    whole.add(codes[:cut])
    part.add(codes[:cut])
    again = FeatureShift(variant().training_statistics).restore(part.encode())
    assert again.encode() == part.encode()
    first, second = [], []
    for start in range(cut, len(codes), BLOCK_ROWS):
        first.append(whole.add(codes[start : start + BLOCK_ROWS]))
        second.append(again.add(codes[start : start + BLOCK_ROWS]))
    assert [s and (s.window, s.by) for s in first] == [s and (s.window, s.by) for s in second]
    assert any(first)


def test_damage_is_refused() -> None:
    with pytest.raises(StoreError, match="damaged"):
        FeatureShift(variant().training_statistics).restore(FeatureShift(variant().training_statistics).encode()[:-1])
    with pytest.raises(StoreError, match="damaged"):
        FeatureShift(variant().training_statistics).restore(
            checked(b'{"clipped":[0,0,0,0,0],"distance":[1],"windows":3}')
        )


def test_source_data_lies_at_about_one() -> None:
    random = np.random.default_rng(5)
    x = (4.0 * np.eye(3, SIZE)[random.integers(0, 3, 500)] + random.normal(0, 0.7, (500, SIZE))).astype(np.float32)
    distances = FeatureShift(variant().training_statistics).distances(variant().features.codes(x)[0])
    assert distances.mean() == pytest.approx(1.0, abs=0.15)
