"""A device whose gradient updates contradict those of all others is set aside, told in words, and comes back."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.heads.update_review import ROUNDS, rounds_of
from aggregator.policy import AveragingPolicy, Method, OutlierPolicy, Policy, Robust
from aggregator.store.rows import QUARANTINED, VOUCHED, VouchedRow
from headway.arrays import Float32
from headway.maths import Statistics
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, Fleet, delta, heads, statistics_message, update_message
from tests.aggregator.fleets import warnings as warned

AVERAGE = Policy(Method.AVERAGE, publish_interval_s=0.0)


class Averaging(Fleet):
    """Rounds of eight honest devices and one more."""

    number, samples = 0, 0

    def one_round(self, other: float, honest: float = 0.1, own: bool = False) -> None:
        """other: what the ninth sends, times an honest update; own: each honest one points its own way."""
        self.number += 1
        random = np.random.default_rng(self.number)
        ways = np.eye(8, 21, dtype=np.float32).reshape(8, 3, 7) - np.float32(0.1)
        sent = [ways[at] if own else delta(honest) + _noise(random) for at in range(8)]
        messages = [update_message(f"d{at}", self.number, one) for at, one in enumerate(sent)]
        self.send(*messages, update_message("ninth", self.number, other * (delta(honest) + _noise(random))))
        self.samples = heads(self.pass_time(1.0))[-1].samples

    def aside(self) -> dict[str, str]:
        with self.store.transaction():
            return {row.device: row.problem for row in self.store.rows(QUARANTINED).all()}


def _noise(random: np.random.Generator) -> Float32:
    return np.asarray(random.normal(0, 0.05, (3, 7)), np.float32)


@pytest.mark.parametrize(("times", "said"), [(-0.5, "with cosine -0."), (30.0, "times the usual length")])
def test_it_is_set_aside_after_some_rounds_and_comes_back_after_as_many(times: float, said: str) -> None:
    fleet = Averaging(AVERAGE)
    for _ in range(ROUNDS - 1):
        fleet.one_round(times)
    assert fleet.aside() == {}
    fleet.one_round(times)
    assert "it contradicts the others: its updates in 4 rounds in a row" in fleet.aside()["ninth"]
    assert said in fleet.aside()["ninth"]
    assert any("edge-fleet readmit ninth" in text for text in warned(fleet.effects))
    counted = fleet.samples
    fleet.one_round(1.0)
    assert fleet.samples == counted * 8 // 9, "it is taken in nowhere"
    with fleet.store.reading():
        assert fleet.store.update_count() == 0, "and does not wait"
    for _ in range(ROUNDS - 2):
        fleet.one_round(1.0)
    assert "ninth" in fleet.aside()
    fleet.one_round(1.0)
    assert fleet.aside() == {}
    fleet.one_round(1.0)
    assert fleet.samples == counted
    with fleet.store.transaction():
        names = [event.name for event in fleet.store.events()]
    assert names == ["counts-again", "quarantined"], "newest first"


def test_among_more_devices_chance_takes_more_rounds_in_a_row() -> None:
    assert [rounds_of(devices) for devices in (1, 10, 11, 40, 41, 100, 1000, 10_000)] == [4, 4, 5, 5, 6, 6, 8, 9]


def test_nothing_of_it_piles_up_in_rounds_too_small_to_compare_anybody() -> None:
    fleet = Averaging(AVERAGE)
    for _ in range(ROUNDS + 1):
        fleet.one_round(-0.5)
    small = [update_message(name, fleet.number + 1, delta(0.1)) for name in ("d0", "d1", "ninth")]
    fleet.send(*small)
    fleet.pass_time(1.0)
    assert heads(fleet.pass_time(1e5))[-1].devices == 2, "it does not wait for more for ever"
    with fleet.store.reading():
        assert fleet.store.update_count() == 0


def test_what_it_reported_of_labels_says_nothing_of_its_updates() -> None:
    """Of days when the fleet made exact heads: all devices agree in that."""
    fleet = Averaging(Policy(Method.AVERAGE, 0.0, outliers=OutlierPolicy(interval_s=0.0)))
    random = np.random.default_rng(5)
    places = {name: random.integers(-90, 90, SIZE) for name in CLASSES}
    for name in [*(f"d{number}" for number in range(8)), "ninth"]:
        codes = np.array([places[label] for label in CLASSES for _ in range(20)])
        codes = np.clip(codes + random.integers(-9, 10, codes.shape), -127, 127).astype(np.int8)
        seen = Statistics.of(codes, np.repeat(np.arange(3), 20), CLASSES, SPACE)
        fleet.send(statistics_message(name, 1, 1, seen))
    for _ in range(ROUNDS + 1):
        fleet.one_round(-0.5)
    assert "ninth" in fleet.aside()
    fleet.restart()
    for _ in range(3):
        fleet.pass_time(100.0)
    assert "ninth" in fleet.aside()


def test_one_good_round_in_between_begins_the_count_anew() -> None:
    fleet = Averaging(AVERAGE)
    for at in range(3 * ROUNDS):
        fleet.one_round(1.0 if at % ROUNDS == 0 else -1.0)
    assert fleet.aside() == {}


def test_where_each_device_goes_its_own_way_nobody_is_named() -> None:
    fleet = Averaging(AVERAGE)
    for _ in range(2 * ROUNDS):
        fleet.one_round(-0.5, own=True)
    assert fleet.aside() == {}


def test_an_operators_word_and_the_settings_stand_above_it() -> None:
    vouched = Averaging(AVERAGE)
    with vouched.store.transaction():
        vouched.store.rows(VOUCHED).put(VouchedRow("ninth", 0.0))
    plain = Averaging(Policy(Method.AVERAGE, 0.0, averaging=AveragingPolicy(robust=Robust.NONE)))
    off = Averaging(Policy(Method.AVERAGE, 0.0, outliers=OutlierPolicy(devices_min=0)))
    for fleet in (vouched, plain, off):
        for _ in range(ROUNDS + 1):
            fleet.one_round(-0.5)
        assert fleet.aside() == {}
