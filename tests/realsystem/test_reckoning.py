"""The reckoning after power cuts: each promise that is broken is found, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.guest import ranges
from tests.realsystem.power_run import Progress
from tests.realsystem.reckoning import OnDisk, broken, numbers

SOUND = OnDisk(0, ("ok",), frozenset({1, 2, 3, 5}), (), 16, (), None)


def test_what_was_promised_and_is_there_once_breaks_nothing() -> None:
    assert broken(SOUND, {1, 2, 5}, 4) == {}


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        ({"code": -9}, "agent"),
        ({"sound": ("row 3 missing from index",)}, "database"),
        ({"set_aside": ("agent.sqlite.damaged-1",)}, "database"),
        ({"labels": 15}, "labels"),
        ({"labels": 20}, "labels"),
        ({"rejected": ("000004.npz",)}, "files"),
    ],
)
def test_each_broken_promise_is_found(changed: dict[str, object], about: str) -> None:
    assert list(broken(replace(SOUND, **changed), {1, 2, 5}, 4)) == [about]


def test_labels_that_wait_for_their_turn_are_there() -> None:
    said = {"code": 0, "sound": ["ok"], "answered": "1-3,5-5", "rejected": [], "labels": 13, "waiting_labels": 3}
    said |= {"databases_set_aside": [], "last_recovery": None}
    assert OnDisk.parse(json.dumps(said)) == SOUND


def test_a_lost_answer_is_found_and_its_labels_stay_counted() -> None:
    assert list(broken(SOUND, {1, 2, 5, 6}, 4)) == ["answers", "labels"]
    assert list(broken(replace(SOUND, labels=20), {1, 2, 5, 6}, 4)) == ["answers"]


@pytest.mark.parametrize("held", [set(), {7}, {1, 2, 3, 9, 11, 12}])
def test_numbers_travel_in_one_line(held: set[int]) -> None:
    assert numbers(ranges(held)) == held


def test_a_run_that_was_ended_goes_on_from_where_it_was(tmp_path: Path) -> None:
    progress = Progress.begun(tmp_path, seed=5, port=1883)
    progress.note_cut({1, 2})
    progress.note_cut({4})
    found = Progress.opened(tmp_path)
    assert found is not None
    assert (found.seed, found.port, found.cuts, found.promised, found.following) == (5, 1883, 2, {1, 2, 4}, 6)
