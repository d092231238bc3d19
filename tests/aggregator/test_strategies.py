"""Strategies of averaging: what Flower's make of the same updates, and what a few liars can do to each of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.effects import Note
from aggregator.engine.robust import PRODUCT_COLUMNS, krum_scores, median, trimmed_mean
from aggregator.heads import EvaluationSample, FleetModel
from aggregator.heads.agreement import robust_mean
from aggregator.heads.averaging import Contribution, mean_of, moved, weights_of
from aggregator.heads.server_optimizers import Memory, step
from aggregator.held_heads import hold
from aggregator.policy import AveragingPolicy, Method, Policy, Robust, Strategy
from headway.arrays import Float32
from headway.bundle import weights_over_unit_codes
from headway.errors import ConfigError, StoreError
from headway.maths import Head
from headway.wire import PublishedHead
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, Fleet, delta, heads, model, update_message

ORACLE: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "golden" / "strategies" / "flower.json").read_text()
)
# nothing but the strategy itself
FREE = AveragingPolicy(robust=Robust.NONE, clip_norm=1e9, norm_factor=1000.0, samples_max=10**9, learning_rate=1.0)
OPTIMIZERS = [
    ("fedavg", replace(FREE, strategy=Strategy.FEDAVG)),
    ("fedavgm", replace(FREE, strategy=Strategy.FEDAVGM, learning_rate=0.7, momentum=0.9)),
    ("fedadam", replace(FREE, strategy=Strategy.FEDADAM)),
    ("fedyogi", replace(FREE, strategy=Strategy.FEDYOGI)),
    ("median", replace(FREE, robust=Robust.MEDIAN)),
    ("trimmed-mean", replace(FREE, robust=Robust.TRIMMED_MEAN, malicious_share=0.25)),
    ("krum", replace(FREE, robust=Robust.KRUM, malicious_share=0.25)),
    ("multi-krum", replace(FREE, robust=Robust.MULTI_KRUM, malicious_share=0.25)),
]


def contributions(at: int, scale: float = 1.0) -> list[Contribution]:
    """The updates of one of Flower's rounds."""
    deltas, counts = ORACLE["deltas"][at], ORACLE["samples"][at]
    return [Contribution(np.float32(scale * np.array(one)), count) for one, count in zip(deltas, counts, strict=True)]


@pytest.mark.parametrize(("name", "policy"), OPTIMIZERS)
def test_each_strategy_is_flowers(name: str, policy: AveragingPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    # Flower lets a device weigh what it claims
    monkeypatch.setattr("aggregator.heads.averaging.DEVICES_MIN", 10**6)
    weights, memory = np.float32(ORACLE["start"]), Memory.none(15)
    for at in range(4):
        sent = contributions(at)
        worth = weights_of(sent, policy)
        mean = mean_of(sent, worth) if policy.robust is Robust.NONE else robust_mean(sent, worth, policy)
        memory, change = step(memory, mean.ravel(), policy)
        weights = moved(weights, change)
        assert weights == pytest.approx(np.float32(ORACLE[name][at]), abs=2e-5)


def test_the_oracle_says_which_version_made_it() -> None:
    assert ORACLE["flwr"] == "1.42.0"


def honest(count: int, size: int, seed: int = 0) -> Float32:
    random = np.random.default_rng(seed)
    return random.normal(1.0, 0.2, (count, size)).astype(np.float32)


@pytest.mark.parametrize("rule", [Robust.MEDIAN, Robust.TRIMMED_MEAN, Robust.KRUM, Robust.MULTI_KRUM, Robust.ALIGNED])
@pytest.mark.parametrize("sent", [-5.0, 1e6, -1e6])
def test_a_fifth_of_liars_moves_no_robust_mean_away_from_the_honest_ones(rule: Robust, sent: float) -> None:
    rows = [Contribution(row.reshape(3, 4), 10) for row in honest(8, 12)]
    policy = replace(AveragingPolicy(), robust=rule)
    liars = [Contribution(np.full((3, 4), sent, np.float32), 10**9) for _ in range(2)]
    found = robust_mean([*rows, *liars], weights_of([*rows, *liars], policy), policy)
    # what points the same way and is far too long, `aligned` shortens like the mean
    assert abs(found - 1.0).max() < (1.2 if rule is Robust.ALIGNED else 0.5)


def test_coordinates_in_blocks_are_coordinates() -> None:
    rows = honest(11, 1300, seed=3)
    assert median(rows) == pytest.approx(np.median(rows.astype(np.float64), axis=0), abs=1e-6)
    ordered = np.sort(rows.astype(np.float64), axis=0)
    assert trimmed_mean(rows, 0.2) == pytest.approx(ordered[2:-2].mean(axis=0), abs=1e-6)
    assert trimmed_mean(rows, 0.0) == pytest.approx(rows.astype(np.float64).mean(axis=0), abs=1e-6)
    assert trimmed_mean(rows[:1], 0.4) == pytest.approx(rows[0], abs=1e-6)
    assert krum_scores(rows[:1], 0).tolist() == [0.0]


@pytest.mark.parametrize("size", [1, 2 * PRODUCT_COLUMNS + 1])
def test_scores_of_rows_far_from_nothing_are_those_of_exact_distances(size: int) -> None:
    rows = 40.0 + honest(9, size, seed=4)
    exact = rows.astype(np.float64)
    distances = ((exact[:, None] - exact[None]) ** 2).sum(axis=2)
    # one's own distance, nought, comes first
    nearest = np.sort(distances, axis=1)[:, 1:6].sum(axis=1)
    assert krum_scores(rows, 2) == pytest.approx(nearest, rel=1e-4, abs=1e-5)


def test_rows_are_left_as_they_are() -> None:
    rows = honest(7, 30)
    before = rows.copy()
    median(rows), trimmed_mean(rows, 0.2), krum_scores(rows, 1)
    assert np.array_equal(rows, before)


def averaging(**settings: Any) -> Fleet:
    policy = AveragingPolicy(updates_min=5, **settings)
    return Fleet(Policy(Method.AVERAGE, publish_interval_s=0.0, averaging=policy))


def one_round(fleet: Fleet, number: int, value: float = 0.1, devices: int = 6) -> PublishedHead:
    """Every device sends an update."""
    fleet.send(*(update_message(f"d{at}", number, delta(value), base_version=0) for at in range(devices)))
    return heads(fleet.pass_time(1.0))[-1]


def weights(head: Head) -> Float32:
    return np.concatenate([head.kernel.ravel(), head.bias])


@pytest.mark.parametrize("strategy", [Strategy.FEDAVGM, Strategy.FEDADAM, Strategy.FEDYOGI])
def test_what_an_optimiser_remembers_outlives_a_restart(strategy: Strategy) -> None:
    through, restarted = averaging(strategy=strategy), averaging(strategy=strategy)
    for number in (1, 2, 3):
        expected = one_round(through, number)
        restarted.restart()
        assert one_round(restarted, number).encode() == expected.encode()


def test_momentum_begins_anew_where_averaging_goes_on_from_another_head() -> None:
    fleet = averaging(strategy=Strategy.FEDAVGM, staleness_exponent=0.0)
    first, second = one_round(fleet, 1), one_round(fleet, 2)
    with fleet.store.transaction():
        hold(fleet.store, SPACE, first.version)
    held = heads(fleet.pass_time(2.0))[-1]
    assert np.array_equal(held.head.kernel, first.head.kernel)
    with fleet.store.transaction():
        hold(fleet.store, SPACE, 0)
    fleet.pass_time(2.0)
    after = one_round(fleet, 3)
    # as long as the first step without memory, and shorter than the second one with it
    step_of = np.linalg.norm(weights(after.head) - weights(held.head))
    assert step_of < 0.7 * np.linalg.norm(weights(second.head) - weights(first.head))


def test_a_damaged_memory_is_refused() -> None:
    made = Memory(3, np.ones(4), np.zeros(4))
    assert Memory.decode(made.encode(), 4).rounds == 3
    for payload in (made.encode()[:-1], made.encode()[:8] + b"\xff" * 64):
        with pytest.raises(StoreError):
            Memory.decode(payload, 4)


@pytest.mark.parametrize("rule", [Robust.TRIMMED_MEAN, Robust.MULTI_KRUM])
def test_a_round_of_a_robust_rule_takes_so_many_devices_and_the_others_the_next(rule: Robust) -> None:
    fleet = averaging(robust=rule, round_devices_max=4, robust_devices_min=3)
    head = one_round(fleet, 1, devices=6)
    assert head.devices == 4
    fleet.pass_time(100.0)
    late = heads(fleet.pass_time(100.0))
    assert [one.devices for one in late or heads(fleet.effects)][-1] == 2
    with fleet.store.reading():
        assert fleet.store.update_count() == 0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"robust": Robust.KRUM, "malicious_share": 0.4, "robust_devices_min": 5}, "krum"),
        ({"robust": Robust.MEDIAN, "strategy": Strategy.FEDADAM, "adaptive_rate": 0.0}, "adaptive_rate"),
        ({"robust": Robust.TRIMMED_MEAN, "robust_devices_min": 50, "round_devices_max": 10}, "round_devices_max"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_one_line(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        AveragingPolicy(**settings)
    assert "\n" not in str(caught.value)


def test_small_rounds_of_a_robust_rule_are_means() -> None:
    fleet = averaging(robust=Robust.MEDIAN, round_s=0.0)
    plain = averaging(round_s=0.0)
    for one in (fleet, plain):
        one.send(update_message("a", 1, delta(0.1)), update_message("b", 1, delta(0.5)))
    found = [heads(one.pass_time(1.0))[-1] for one in (fleet, plain)]
    assert found[0].encode() == found[1].encode()
    assert not [effect for effect in fleet.effects if isinstance(effect, Note) and effect.warning]


def test_two_of_ten_that_turn_the_others_round_move_the_shipped_aggregator_nowhere() -> None:
    honest_only, attacked = (Fleet(Policy(Method.AVERAGE, publish_interval_s=0.0)) for _ in range(2))
    random = np.random.default_rng(4)
    for number in (1, 2, 3):
        sent = [delta(0.1) + random.normal(0, 0.05, (3, 7)).astype(np.float32) for _ in range(8)]
        messages = [update_message(f"d{at}", number, one) for at, one in enumerate(sent)]
        liars = [update_message(f"liar{at}", number, -5 * np.mean(sent, axis=0), count=2**40) for at in range(2)]
        honest_only.send(*messages)
        attacked.send(*messages, *liars)
        good, bad = (weights(heads(fleet.pass_time(1.0))[-1].head) for fleet in (honest_only, attacked))
        # what is left is the length that updates are shortened to, which liars lengthen a little
        assert np.linalg.norm(bad - good) < 0.05 * np.linalg.norm(good)


def scored_model() -> FleetModel:
    """The model of the other tests with a sample on which its own head is right."""
    made = model()
    codes = np.random.default_rng(8).integers(-127, 128, (300, SIZE)).astype(np.float32)
    labels = made.start.logits(codes).argmax(axis=1).astype(np.int64)
    return replace(made, sample=EvaluationSample(SPACE, codes, labels, CLASSES))


def test_a_round_whose_head_is_refused_is_over_and_the_next_one_begins_where_it_began() -> None:
    policy = AveragingPolicy(updates_min=5, strategy=Strategy.FEDAVGM, clip_norm=1e6)
    fleet = Fleet(Policy(Method.AVERAGE, publish_interval_s=0.0, averaging=policy), build_model=scored_model)
    turned = np.zeros((3, 7), np.float32)
    turned[:, :-1] = -5 * 127 * model().start.kernel.T
    fleet.send(*(update_message(f"d{at}", 1, turned) for at in range(6)))
    effects = fleet.pass_time(1.0)
    assert heads(effects) == []
    assert any("is not published" in effect.text for effect in effects if isinstance(effect, Note))
    with fleet.store.reading():
        assert fleet.store.update_count() == 0
    fleet.restart()
    first = one_round(fleet, 2, value=0.05)
    assert (first.version, first.devices) == (1, 6)
    start = weights_over_unit_codes(model().start)
    moved_by = weights_over_unit_codes(first.head) - start
    assert moved_by == pytest.approx(np.full((3, 7), 0.05), abs=1e-3)
