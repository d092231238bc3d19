"""How much one device may weigh in the fleet's head: claimed samples gain nothing, honest fleets lose nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aggregator.heads import FleetSum, weighed
from aggregator.heads.sum_changes import Difference
from aggregator.heads.weighing import UNIT, Bound, caps, counts_of, divided, step_up
from aggregator.heads.weighing import times as weighed_tables
from aggregator.policy import OutlierPolicy, Policy, Weighing
from headway.arrays import Int8, Int64
from headway.maths import Head, Statistics, fleet_head, merge, predicted_class
from headway.wire import FleetPrior
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, Fleet, acks, heads, model, statistics_message, tables
from tests.aggregator.test_priors import request, told

SOURCE = model().training_statistics
CENTRES = np.random.default_rng(1).normal(0.0, 30.0, (3, SIZE))


def times(statistics: Statistics, factor: int) -> Statistics:
    """What a device reports that says of each sample that it had seen it so many times."""
    return replace(statistics, gram=statistics.gram * factor, class_sums=statistics.class_sums * factor)


def separable(count: int, seed: int) -> tuple[Int8, Int64]:
    """Samples whose classes a linear head can tell apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    codes = np.clip(np.rint(CENTRES[labels] + random.normal(0.0, 40.0, (count, SIZE))), -127, 127)
    return codes.astype(np.int8), labels


def honest(count: int, seed: int) -> Statistics:
    return Statistics.of(*separable(count, seed), CLASSES, SPACE)


def head_of(devices: list[Statistics], policy: Policy | None = None) -> Head:
    """The head that an aggregator publishes after the reports of so many devices."""
    fleet = Fleet() if policy is None else Fleet(policy)
    for number, part in enumerate(devices):
        fleet.send(statistics_message(f"d{number}", 1, 1, part))
    return heads(fleet.pass_time())[-1].head


def accuracy(head: Head) -> float:
    codes, labels = separable(3000, 77)
    return float((predicted_class(head.logits(codes.astype(np.float32))) == labels).mean())


@pytest.mark.parametrize("factor", [2, 10, 100, 10_000, 10**8])
def test_claimed_samples_gain_nothing_over_honest_ones(factor: int) -> None:
    others = [honest(80, number) for number in range(9)]
    codes, labels = separable(80, 9)
    rotated = Statistics.of(codes, (labels + 1) % 3, CLASSES, SPACE)
    # nobody is set aside: it is the bound that is looked at
    bound = Policy(publish_interval_s=0.0, outliers=OutlierPolicy(devices_min=0))
    modest, loud = head_of([*others, rotated], bound), head_of([*others, times(rotated, factor)], bound)
    # a weight is a whole number of parts, so that the wildest claims weigh less, down to nothing
    assert accuracy(loud) >= accuracy(modest) - 0.005
    if factor <= 100:
        assert np.abs(loud.kernel - modest.kernel).max() < 2e-3 * np.abs(modest.kernel).max()
    unbound = head_of([*others, times(rotated, 100)], replace(bound, weighing=Weighing(devices_min=0)))
    assert accuracy(unbound) < accuracy(modest) - 0.2, "it is the bound that holds"


def test_more_epochs_are_no_way_around_the_bound() -> None:
    others = [statistics_message(f"d{number}", 1, 1, honest(80, number)) for number in range(9)]
    loud = times(honest(80, 9), 100)
    once, often = Fleet(), Fleet()
    once.send(*others, statistics_message("loud", 1, 1, times(loud, 5)))
    often.send(*others, *[statistics_message("loud", epoch, 1, loud) for epoch in range(1, 6)])
    assert once.core.weighed == often.core.weighed
    assert often.core.weighed.samples <= 10 * 80 + len(CLASSES)
    assert often.core.statistics.samples == 9 * 80 + 5 * 8000, "what was told stays known"


def test_a_device_that_claims_all_samples_there_can_be_locks_nobody_out() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("honest", 1, 1, tables(50, 3)))
    without = fleet.core.weighed
    claim = (1 << 40) - 7
    gram, class_sums = np.zeros((SIZE + 1, SIZE + 1), np.int64), np.zeros((SIZE + 1, 3), np.int64)
    gram[-1, -1], class_sums[-1] = claim, [claim - 2, 1, 1]
    loud = Statistics(gram, class_sums, CLASSES, SPACE)
    fleet.send(*[statistics_message("loud", epoch, 1, loud) for epoch in range(1, 41)])
    assert heads(fleet.pass_time(1.0))
    later = fleet.send(statistics_message("honest", 1, 2, tables(51, 3)), statistics_message("new", 1, 1, tables(1, 8)))
    assert {name: [ack.counter for ack in every] for name, every in acks(later).items()} == {"honest": [2], "new": [1]}
    assert not fleet.refusals
    assert fleet.core.weighed.samples <= 52 + Weighing().samples_max + len(CLASSES)
    with fleet.store.transaction():
        fleet.store.request_removal("loud", 0.0)
        fleet.store.request_removal("new", 0.0)
    fleet.pass_time(10.0)
    assert fleet.core.weighed == without - tables(50, 3) + tables(51, 3), "not a bit of it is left"


@pytest.mark.parametrize("counts", [[900], [900, 3], [20, 900, 5]])
def test_in_fleets_of_one_to_three_every_sample_counts(counts: list[int]) -> None:
    parts = [tables(count, number) for number, count in enumerate(counts)]
    expected = fleet_head(SOURCE, merge(parts))
    assert head_of(parts).kernel.tobytes() == expected.kernel.tobytes()


def test_a_fleet_whose_devices_differ_as_fleets_do_is_the_sum_of_its_samples() -> None:
    parts = [tables(count, number) for number, count in enumerate([64, 5, 230, 170, 160, 12, 150])]
    assert head_of(parts).kernel.tobytes() == fleet_head(SOURCE, merge(parts)).kernel.tobytes()


def test_a_busy_device_among_idle_ones_keeps_what_it_knows_and_loses_weight() -> None:
    parts = [honest(700, 0), *[honest(10, number) for number in range(1, 5)]]
    assert caps(map(counts_of, parts), Weighing()).samples == Bound(51, 51), "a fifth of what four are granted"
    assert accuracy(head_of(parts)) > accuracy(head_of(parts[1:]))


def test_devices_without_samples_are_nobodys_measure() -> None:
    one = {"walk": 500}
    assert caps([one, {}, {"run": 0}, {}, {}], Weighing()) == caps([one], Weighing())


def test_the_order_of_reports_and_restarts_leave_no_trace() -> None:
    parts = {f"d{number}": tables(40 + 300 * (number % 3 == 0), number) for number in range(9)}
    expected = fleet_head(SOURCE, weighed(parts, SOURCE, Weighing()))
    for seed in range(3):
        random, fleet = np.random.default_rng(seed), Fleet()
        for number in random.permutation(9):
            fleet.send(statistics_message(f"d{number}", 1, 1, tables(1000, 50 + seed)))
            fleet.pass_time(1.0)
            fleet.send(statistics_message(f"d{number}", 1, 2, parts[f"d{number}"]))
            if random.random() < 0.3:
                fleet.restart()
        (head,) = heads(fleet.pass_time(1.0))
        assert (
            head.head.kernel.tobytes() + head.head.bias.tobytes() == expected.kernel.tobytes() + expected.bias.tobytes()
        )
        fleet.restart()
        assert fleet.core.weighed == weighed(parts, SOURCE, Weighing())


def test_the_running_sum_is_always_the_plain_definition() -> None:
    random, weighing = np.random.default_rng(5), Weighing(samples_max=400, samples_min=10, class_samples_min=4)
    stored: dict[str, Statistics] = {}
    nothing = Statistics.zeros(SIZE, CLASSES, SPACE)
    fleet = FleetSum(SOURCE, 0.02, weighing, lambda device: stored.get(device, nothing))
    sides = set()
    for step in range(120):
        device = f"d{random.integers(0, 7)}"
        old = stored.pop(device, None)
        names = (*CLASSES, f"own-{device}") if random.random() < 0.3 else CLASSES
        new = None if random.random() < 0.1 else tables(int(random.choice([3, 20, 25, 30, 90, 2000])), step, names)
        if new is not None:
            stored[device] = new
        fleet.replace(device, old, new)
        if random.random() < 0.6:
            assert fleet.weighed == weighed(stored, SOURCE, weighing)
            sides.update((name, name in fleet.devices_over) for name in stored)
            for name in set(stored) - set(fleet.devices_over):
                rest = fleet.without(name)
                assert rest.gram.tobytes() == (fleet.weighed - stored[name]).gram.tobytes()
            assert fleet.without("nobody") == fleet.weighed
    assert len(sides) == 14, "every device was on both sides of the bound"


def extreme(kind: str, random: np.random.Generator, size: int) -> tuple[Int8, Int64]:
    codes = random.integers(-127, 128, (60, size)).astype(np.int8)
    labels = random.integers(0, 3, 60)
    if kind == "saturated":
        codes = np.where(codes > 0, 127, -127).astype(np.int8)
    elif kind == "constant":
        codes[:] = 127
    elif kind == "few samples":
        codes, labels = codes[:4], labels[:4]
    elif kind == "nothing seen":
        codes[:] = 0
    elif kind == "one class rare":
        labels[:] = 0
        labels[0] = 2
    elif kind == "pairs":
        codes[:, 1::2] = -codes[:, ::2]
    return codes, labels


KINDS = ["random", "saturated", "constant", "few samples", "nothing seen", "one class rare", "pairs"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 6, 90])
def test_tables_that_were_scaled_down_are_tables_that_samples_can_have_made(kind: str, size: int) -> None:
    random = np.random.default_rng(3)
    part = Statistics.of(*extreme(kind, random, size), CLASSES, SPACE)
    for factor, weight, devices in [(3, 17, 1), (1000, 80, 4), (10**4, 100_000, 60), (2, 1, 1)]:
        loud = times(part, factor)
        units = merge([weighed_tables(loud, UNIT * weight // loud.samples)] * devices)
        small = divided(units)
        assert small.inconsistency() is None
        assert 0.9 * devices * weight <= small.samples <= devices * weight + len(CLASSES)
        assert (small.counts > 0).tolist() == (part.counts > 0).tolist()
        if kind != "few samples" and weight >= 80:
            found = small.class_sums[:-1] / np.maximum(small.counts, 1)
            assert found == pytest.approx(part.class_sums[:-1] / np.maximum(part.counts, 1), abs=2.5)


def test_who_claims_more_than_any_weight_can_bring_down_weighs_nothing() -> None:
    claim = UNIT * Weighing().samples_max + 1
    gram, class_sums = np.zeros((SIZE + 1, SIZE + 1), np.int64), np.zeros((SIZE + 1, 4), np.int64)
    gram[-1, -1], class_sums[-1] = claim, [claim - 1, 0, 0, 1]
    loud = Statistics(gram, class_sums, (*CLASSES, "swim"), SPACE)
    assert loud.inconsistency() is None
    assert head_of([loud]).classes == CLASSES


def test_a_device_that_floods_one_class_weighs_what_others_have_of_it() -> None:
    others = [honest(30, number) for number in range(9)]
    codes, _ = separable(30, 9)
    flood = Statistics.of(codes, np.zeros(30, np.int64), CLASSES, SPACE)
    fleet = Fleet()
    for number, part in enumerate([*others, flood]):
        fleet.send(statistics_message(f"d{number}", 1, 1, part))
    # ten of each class are usual, and 16 are granted
    assert fleet.core.weighed.counts.tolist() == [90 + 16, 90, 90]


def test_of_a_class_that_few_devices_have_a_device_weighs_as_many_as_any_device_may() -> None:
    counts = [{"walk": 20, "run": 20}] * 5 + [{"walk": 20, "fall": 200}]
    bounds = caps(counts, Weighing())
    assert bounds.weight(counts[-1]) == UNIT * 42 // 220
    assert bounds.weight({"walk": 20, "fall": 40}) == UNIT
    assert bounds.weight({"fall": 60}) == UNIT


@pytest.mark.parametrize(("devices", "share"), [(4, 64), (5, 51), (10, 25), (12, 21), (100, 2)])
def test_what_is_granted_to_a_fleet_of_few_labels_is_shared_by_its_devices(devices: int, share: int) -> None:
    counts = [{"walk": 1}] * (devices - 1) + [{"walk": 10_000}]
    assert caps(counts, Weighing()).samples.weight == share
    assert caps(counts, Weighing(samples_max=1)).samples.weight == 1
    halves = [{"walk": 1, "run": 1}] * (devices - 1) + [{"walk": 5000, "run": 5000}]
    assert caps(halves, Weighing()).classes["walk"].weight == min(16, share), "as much of a class, up to its own bound"


@pytest.mark.parametrize("each", [2, 5, 20, 80])
def test_what_chance_makes_of_equal_devices_weighs_nobody_less(each: int) -> None:
    random = np.random.default_rng(each)
    for _ in range(20):
        fleet = [
            {name: int(count) for name, count in zip(CLASSES, random.poisson(each, len(CLASSES)), strict=True)}
            for _ in range(200)
        ]
        bounds = caps(fleet, Weighing())
        assert [bounds.weight(counts) for counts in fleet] == [UNIT] * 200
        assert bounds.weight({CLASSES[0]: 10 * each + 10}) < UNIT, "but not who claims ten times as many"


def test_the_usual_number_moves_in_four_steps_an_octave() -> None:
    assert [step_up(count) for count in (0, 1, 5, 9, 16, 17, 80, 81, 1000)] == [0, 1, 5, 10, 16, 20, 80, 96, 1024]


def test_what_new_devices_are_told_is_bound_too_and_holds_nothing_of_their_own() -> None:
    fleet = Fleet()
    fleet.send(*[statistics_message(f"d{number}", 1, 1, tables(80, number)) for number in range(5)])
    fleet.send(statistics_message("loud", 1, 1, times(tables(80, 9), 10**6)))
    fleet.pass_time()
    (prior,) = told(fleet.send(request("new")), "new")
    assert prior.devices == 6
    assert prior.statistics.inconsistency() is None
    assert prior.statistics.samples <= 6 * 80 + len(CLASSES)
    (others,) = told(fleet.send(request("loud")), "loud")
    assert others == FleetPrior(5, merge([tables(80, number) for number in range(5)]))
    (rest,) = told(fleet.send(request("d0")), "d0")
    assert rest.statistics == prior.statistics - tables(80, 0)


@pytest.mark.parametrize("classes", [CLASSES, ("run", "idle"), ("swim", "walk", "idle")])
def test_a_difference_formed_once_is_worth_both_tables_in_every_sum(classes: tuple[str, ...]) -> None:
    old, new, other = tables(20, 1, classes), tables(30, 2, classes), tables(9, 3, ("idle", "fly"))
    formed, plain = (FleetSum(SOURCE, 0.02, Policy().weighing, lambda _: old) for _ in range(2))
    difference = Difference.of(old, new)
    assert difference is not None
    for sums, given in ((formed, difference), (plain, None)):
        sums.replace("other", None, other)
        sums.replace("device", None, old)
        sums.replace("device", old, new, given)
    assert formed.total == plain.total
    assert formed.total.same_sums(new + other)
    assert formed.sums == plain.sums
    # of tables that differ in more than numbers there is none
    others = (None, tables(20, 1, (*classes, "fly")), tables(20, 1, classes, "6" * 64), tables(20, 1, classes[::-1]))
    assert [Difference.of(before, new) for before in others] == [None] * 4
