"""Time buckets: bounded in number, exact in sum, and each label can be found and taken out again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.trainer import ExactTrainer
from headway.errors import LocalError, StoreError
from headway.fields import Fields
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics, merge
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows
from tests.nightly import nightly

EMPTY = Statistics.zeros(5, CLASSES, "s")


def samples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(-127, 128, (count, 5)).astype(np.int8), random.integers(0, 3, count)


def filled(count: int, *, step: int = 7, bucket_labels: int = 10, buckets_max: int = 12) -> Buckets:
    buckets = Buckets(EMPTY, bucket_labels, buckets_max)
    codes, labels = samples(count)
    for start in range(0, count, step):
        buckets.add(codes[start : start + step], labels[start : start + step])
    return buckets


def of(codes: np.ndarray, labels: np.ndarray) -> Statistics:
    return Statistics.of(codes, labels, CLASSES, "s")


def test_the_sum_is_exact_and_their_number_bounded() -> None:
    buckets = filled(5000)
    assert buckets.total == of(*samples(5000))
    assert len(buckets) <= 12
    assert buckets.labels == 5000


@pytest.mark.parametrize("wanted", [1, 20, 64, 300])
def test_recent_is_exactly_the_newest_labels(wanted: int) -> None:
    buckets = filled(600)
    codes, labels = samples(600)
    recent = buckets.recent(wanted).statistics("s")
    held = recent.samples
    assert held >= wanted
    assert recent == of(codes[600 - held :], labels[600 - held :])
    assert held <= max(2 * wanted, wanted + 20)


def test_recent_of_more_than_there_is_is_everything() -> None:
    assert filled(50).recent(1000).statistics("s") == filled(50).total


def test_a_label_is_taken_out_and_corrected_to_the_bit() -> None:
    codes, labels = samples(200)
    for number in (0, 57, 199):
        kept = np.arange(200) != number
        removed, corrected = filled(200), filled(200)
        removed.change(number, codes[number : number + 1], int(labels[number]), None)
        assert removed.total == of(codes[kept], labels[kept])
        other = labels.copy()
        other[number] = (other[number] + 1) % 3
        corrected.change(number, codes[number : number + 1], int(labels[number]), int(other[number]))
        assert corrected.total == of(codes, other)
        assert corrected.recent(30).samples == filled(200).recent(30).samples


def test_a_label_never_added_cannot_be_changed() -> None:
    with pytest.raises(LocalError, match="label 50 is in no bucket"):
        filled(50).change(50, samples(1)[0], 0, None)


def test_state_round_trips_and_damage_is_refused() -> None:
    buckets = filled(300)
    tensors, ranges = buckets.state()
    other = Buckets(EMPTY, 10, 12)
    other.restore(tensors, ranges)
    assert other.total == buckets.total
    assert other.recent(40).statistics("s") == buckets.recent(40).statistics("s")
    with pytest.raises(StoreError, match="out of order"):
        Buckets(EMPTY, 10, 12).restore(tensors, [[5, 3], *ranges[1:]])
    broken = {**tensors, "bucket.0.gram": tensors["bucket.0.gram"][:-4]}
    with pytest.raises(StoreError, match="bucket 0 is damaged"):
        Buckets(EMPTY, 10, 12).restore(broken, ranges)


@pytest.mark.parametrize(
    ("split", "devices"),
    [
        ("iid", 1),
        ("one class each", 7),
        ("dirichlet", 100),
        *(nightly("iid", devices) for devices in (7, 100)),
        *(nightly("one class each", devices) for devices in (1, 100)),
        *(nightly("dirichlet", devices) for devices in (1, 7)),
    ],
)
def test_what_trainers_report_gives_the_bits_of_one_place(devices: int, split: str) -> None:
    """Through buckets, pending labels and evidence, the fleet's head is the one of all samples in one place."""
    x, y = windows(900, drift=0.5, seed=3)
    codes = pipeline().features(x).codes
    source = variant().training_statistics
    random = np.random.default_rng(devices)
    shares = random.dirichlet(np.full(devices, 0.1), 3) if split == "dirichlet" else np.full((3, devices), 1 / devices)
    owner = np.array([random.choice(devices, p=shares[c] / shares[c].sum()) for c in y])
    if split == "one class each":
        owner = (y + 3 * random.integers(0, max(1, devices // 3), len(y))) % devices
    reports = []
    for device in range(devices):
        trainer = ExactTrainer(source, ExactSettings(bucket_labels=20, buckets_max=10))
        trainer.learn(codes[owner == device], y[owner == device])
        reports.append(trainer.statistics)
    random.shuffle(reports)  # type: ignore[arg-type]
    expected = fleet_head(source, Statistics.of(codes, y, CLASSES, source.space))
    found = fleet_head(source, merge(reports))
    assert found.kernel.tobytes() == expected.kernel.tobytes()
    assert found.bias.tobytes() == expected.bias.tobytes()
    if devices > 1:
        without = merge(reports) - reports[0]
        assert without == merge(reports[1:])


def test_heads_do_not_depend_on_when_the_state_was_saved() -> None:
    x, y = windows(500, drift=0.5, seed=4)
    codes = pipeline().features(x).codes
    straight, saved = ExactTrainer(variant().training_statistics), ExactTrainer(variant().training_statistics)
    for row in range(500):
        straight.learn(codes[row : row + 1], y[row : row + 1])
        saved.learn(codes[row : row + 1], y[row : row + 1])
        if row % 37 == 0:
            tensors, values = saved.state()
            saved = ExactTrainer(variant().training_statistics)
            saved.restore(tensors, Fields(json.loads(json.dumps(values)), "trainer", StoreError))
            for name, head in straight.candidates().items():
                assert head.kernel.tobytes() == saved.candidates()[name].kernel.tobytes(), (row, name)


@pytest.mark.parametrize(("count", "number"), [(6, 3), (200, 3), (200, 197)])
def test_a_label_that_was_taken_out_can_be_put_back_as_another_sample(count: int, number: int) -> None:
    """Of rows and of sums: what they add up to is that of the other sample in its place, also after more labels."""
    codes, labels = samples(count + 30)
    other = np.full((1, 5), 77, np.int8)
    buckets = Buckets(EMPTY, 10, 12)
    buckets.add(codes[:count], labels[:count])
    buckets.change(number, codes[number : number + 1], int(labels[number]), None)
    buckets.put_back(number, other, int(labels[number]))
    buckets.add(codes[count:], labels[count:])
    codes[number] = other[0]
    assert buckets.total == of(codes, labels)
