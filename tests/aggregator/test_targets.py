"""Fleets of regressions and of multi-label models, merged exactly: order, repeats, removal, and hostile tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aggregator.heads.fleet_model import FleetModel
from aggregator.policy import Method, Policy, Weighing
from headway.bundle.variant import Variant
from headway.maths.head import Head
from headway.maths.statistics import Statistics, merge
from headway.maths.task import Task
from headway.ports import Received
from headway.wire.fleet_prior import FleetPrior, PriorRequest
from headway.wire.statistics_change import change_between
from headway.wire.statistics_report import StatisticsReport
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import FLEET, Fleet, heads, refusals_told
from tests.edge_agent.task_variants import OUTPUTS, SIZE, labelled, task_variant

TASKS = (Task.MULTI_LABEL, Task.REGRESSION)
POLICY = Policy(Method.EXACT, publish_interval_s=0.0, weighing=Weighing(devices_min=0), prior_devices_min=2)


def fleet(task: Task, policy: Policy = POLICY) -> Fleet:
    return Fleet(policy, build_model=lambda: FleetModel.of(task_variant(task, exact=True)))


def device_tables(variant: Variant, task: Task, seed: int, count: int = 40) -> Statistics:
    """What a device learned; some of its targets are unknown."""
    x, y = labelled(task, count, drift=0.7, seed=1000 + seed)
    y[seed % 5 :: 5, seed % 3] = np.nan
    codes, _ = variant.features.codes(x)
    assert variant.targets is not None
    return variant.targets.statistics(codes, y, variant.space)


def message(device: str, counter: int, statistics: Statistics) -> Received:
    return Received(topic(FLEET, device, Kind.STATISTICS), StatisticsReport(device, 1, counter, statistics).encode())


def same_bits(one: Head, other: Head) -> bool:
    return one.kernel.tobytes() == other.kernel.tobytes() and one.bias.tobytes() == other.bias.tobytes()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("devices", [1, 7, 100])
def test_a_fleets_head_has_the_bits_of_one_place(task: Task, devices: int) -> None:
    variant, subject = task_variant(task, exact=True), fleet(task)
    tables = [device_tables(variant, task, seed) for seed in range(devices)]
    for index in np.random.default_rng(devices).permutation(devices).tolist():
        subject.send(message(f"d{index}", 1, tables[index]), message(f"d{index}", 1, tables[index]))
    published = heads(subject.pass_time(1.0))[-1]
    assert subject.core.statistics == merge(tables)
    expected = FleetModel.of(variant).solve(variant.training_statistics, merge(tables), POLICY.shrinkage)
    assert same_bits(published.head, expected)
    assert (published.head.classes, published.head.kind) == (OUTPUTS, task.link)
    assert published.samples == 40 * devices


@pytest.mark.parametrize("task", TASKS)
def test_a_device_is_taken_out_to_the_bit(task: Task) -> None:
    variant, subject, without = task_variant(task, exact=True), fleet(task), fleet(task)
    for seed in range(5):
        subject.send(message(f"d{seed}", 1, device_tables(variant, task, seed)))
        if seed != 2:
            without.send(message(f"d{seed}", 1, device_tables(variant, task, seed)))
    with subject.store.transaction():
        subject.store.request_removal("d2", 0.0)
    subject.pass_time(60.0)
    assert subject.core.statistics == without.core.statistics
    subject.restart()
    assert subject.core.statistics == without.core.statistics
    without.pass_time(60.0)
    one, other = (heads(each.effects)[-1].head for each in (subject, without))
    assert same_bits(one, other)


@pytest.mark.parametrize("task", TASKS)
def test_a_fleets_head_predicts_what_devices_saw(task: Task) -> None:
    variant, subject = task_variant(task, exact=True), fleet(task)
    subject.send(*(message(f"d{seed}", 1, device_tables(variant, task, seed, 400)) for seed in range(6)))
    head = heads(subject.pass_time(1.0))[-1].head
    x, y = labelled(task, 300, drift=0.7, seed=5)
    codes, _ = variant.features.codes(x)
    given, frozen = head.probabilities(codes.astype(np.float32)), variant.frozen_head.probabilities(x)
    if task is Task.MULTI_LABEL:
        assert ((given > 0.5) == y).mean() > ((frozen > 0.5) == y).mean() + 0.1
    else:
        assert (np.abs(given - y).mean(axis=0) < 0.6 * np.abs(frozen - y).mean(axis=0)).all()


@pytest.mark.parametrize("task", TASKS)
def test_a_change_is_added_and_a_prior_told(task: Task) -> None:
    variant, subject = task_variant(task, exact=True), fleet(task)
    first = StatisticsReport("d0", 1, 1, device_tables(variant, task, 0))
    more = StatisticsReport("d0", 1, 2, first.statistics + device_tables(variant, task, 1))
    change = change_between(first, more)
    assert change is not None
    subject.send(message("d0", 1, first.statistics))
    subject.send(Received(topic(FLEET, "d0", Kind.STATISTICS), change.encode()))
    assert subject.core.statistics == more.statistics
    others = [device_tables(variant, task, seed) for seed in (2, 3)]
    subject.send(*(message(f"d{seed}", 1, table) for seed, table in zip((2, 3), others, strict=True)))
    request = PriorRequest(variant.space, 0).encode()
    effects = subject.send(Received(topic(FLEET, "d0", Kind.PRIOR_REQUEST), request))
    told = [effect for effect in effects if getattr(effect, "topic", "") == topic(FLEET, "d0", Kind.PRIOR)]
    assert len(told) == 1
    assert FleetPrior.decode(told[0].payload).statistics == merge(others)  # type: ignore[union-attr]


@pytest.mark.parametrize("task", TASKS)
def test_hostile_tables_are_refused_and_change_nothing(task: Task) -> None:
    variant, subject = task_variant(task, exact=True), fleet(task)
    good = device_tables(variant, task, 1)
    subject.send(message("good", 1, good))
    end = good.size

    def changed(row: int, column: int, by: int) -> Statistics:
        gram, sums = good.gram.copy(), good.class_sums.copy()
        gram[row, column] += by
        gram[column, row] = gram[row, column]
        sums[:, 0] = gram[:, -1]
        return Statistics(gram, sums, good.classes, good.space)

    wrong = [
        changed(end - 1, end - 1, 5),  # known more often than there are samples
        changed(SIZE, SIZE, 127 * 127 * 40),  # digits beyond any
        changed(SIZE, end, 4000),
        changed(0, SIZE, 600_000),  # no covariance of anything
        replace(good, classes=("other",)),
    ]
    for counter, tables in enumerate(wrong, 1):
        subject.send(message("liar", counter, tables))
    assert sum(subject.refusals.values()) == len(wrong)
    assert subject.core.statistics == good
    assert refusals_told(subject.effects)


@pytest.mark.parametrize("task", TASKS)
def test_a_device_that_claims_too_much_is_scaled_down(task: Task) -> None:
    policy = replace(POLICY, weighing=Weighing(devices_min=3, samples_min=1))
    variant, subject = task_variant(task, exact=True), fleet(task, policy)
    subject.send(*(message(f"d{seed}", 1, device_tables(variant, task, seed)) for seed in range(6)))
    fair = heads(subject.pass_time(1.0))[-1].head
    loud = device_tables(variant, task, 3)
    factor = 100_000
    claims = Statistics(loud.gram * factor, loud.class_sums * factor, loud.classes, loud.space)
    subject.send(message("loud", 1, claims))
    with_it = heads(subject.pass_time(1.0))[-1].head
    x, y = labelled(task, 300, drift=0.7, seed=5)
    codes = variant.features.codes(x)[0].astype(np.float32)
    difference = np.abs(with_it.probabilities(codes) - fair.probabilities(codes)).mean(axis=0)
    assert (difference < 0.2 * y.std(axis=0)).all()
