"""Fleets of people: which windows a device gets labels for, which it only sees, and which are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import Rows
from benchmarks.people import People, few_labels
from benchmarks.tasks import Device

CLASSES, POSITIONS, LATER = 6, 12, 8


def people(_: Path) -> People:
    """Eight people, six classes, twelve windows of each; a window is its own number."""
    devices = {}
    for person in range(8):
        y, position = (grid.reshape(-1) for grid in np.mgrid[:CLASSES, :POSITIONS])
        numbers = (1000 * person + np.arange(len(y))).astype(np.float32)
        devices[person] = [(Rows(numbers[:, None], y.astype(np.int64)), position.astype(np.int64))]
    return People("numbers", tuple("abcdef"), devices, trained=3, later=LATER, gap=1)


def devices(windows: str, labels: int = 2, draw: int = 0, seed: int = 1) -> tuple[Device, ...]:
    return few_labels(people, labels, drawn=True, windows=windows, draw=draw)(Path(), seed).devices


@pytest.mark.parametrize("windows", ["all", "missing", "uneven"])
def test_no_window_is_both_labelled_and_not_or_scored_later(windows: str) -> None:
    for device in devices(windows):
        assert device.unlabelled is not None
        assert device.labels_before is not None
        taught, seen, later = (set(rows.x[:, 0]) for rows in (device.taught, device.unlabelled, device.tests["later"]))
        assert not taught & seen
        assert not (taught | seen) & later
        assert np.bincount(device.taught.y, minlength=CLASSES).tolist() == [2] * CLASSES
        assert len(seen) == len(device.unlabelled) == len(device.labels_before)
        assert (np.diff(device.labels_before) >= 0).all()
        counts = np.bincount(device.unlabelled.y, minlength=CLASSES)
        if windows == "all":
            assert counts.tolist() == [LATER - 2] * CLASSES
        elif windows == "missing":
            assert (counts == 0).sum() == CLASSES // 3
        else:
            assert counts.max() / counts.sum() == pytest.approx(0.7, abs=0.05)


def test_another_draw_is_of_the_same_people_and_other_windows() -> None:
    one, other = devices("all"), devices("all", draw=1)
    assert [device.name for device in one] == [device.name for device in other]
    assert any(not np.array_equal(a.taught.x, b.taught.x) for a, b in zip(one, other, strict=True))
    assert all(np.array_equal(a.tests["later"].x, b.tests["later"].x) for a, b in zip(one, other, strict=True))


def test_without_them_the_first_windows_of_each_class_are_labelled() -> None:
    for device in devices(""):
        assert device.unlabelled is None
        assert (device.taught.x[:, 0] % 1000 % POSITIONS).max() < 2
