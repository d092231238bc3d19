"""Made-up classes take nobody's place: reports are taken and summed whole, only the published list is bounded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aggregator.heads.class_list import ClassList
from aggregator.operations import Operator, quarantine_device, readmit_device
from aggregator.policy import Limits, Policy
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics
from headway.wire.messages import Ack
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, Fleet, acks, heads, model, statistics_message, tables
from tests.aggregator.test_priors import request, told


def made_up(count: int, each: int = 1, name: str = "junk", seed: int = 0) -> Statistics:
    """Tables of `each` windows of every class, the bundle's and so many made-up ones."""
    names = (*CLASSES, *(f"{name}{index}" for index in range(count)))
    labels = np.tile(np.arange(len(names)), each)
    codes = np.random.default_rng(seed).integers(-127, 128, (len(labels), SIZE)).astype(np.int8)
    return Statistics.of(codes, labels, names, SPACE)


def published(fleet: Fleet) -> tuple[str, ...]:
    return heads(fleet.pass_time(1.0))[-1].head.classes


@pytest.mark.parametrize("each", [1, 4, 40])
def test_a_flood_of_class_names_takes_no_place_from_an_honest_device(each: int) -> None:
    fleet = Fleet()
    effects = fleet.send(statistics_message("flood", 1, 1, made_up(253, each)))
    effects += fleet.send(statistics_message("honest", 1, 1, tables(60, 3, (*CLASSES, "fall"))))
    assert acks(effects) == {"flood": [Ack(1, 1, 0)], "honest": [Ack(1, 1, 0)]}
    assert not fleet.refusals
    classes = published(fleet)
    assert "fall" in classes
    assert len(classes) <= len(CLASSES) + 1 + 32
    if each < 5:
        assert classes == (*CLASSES, "fall")


def test_what_is_in_quarantine_puts_no_class_forward_and_readmitted_it_is_as_before() -> None:
    fleet = Fleet()
    fleet.send(
        statistics_message("odd", 1, 1, made_up(3, 40)), statistics_message("odd", 2, 1, made_up(2, 30, "late")),
        statistics_message("honest", 1, 1, tables(60, 3, (*CLASSES, "fall"))),
    )  # fmt: skip
    before = heads(fleet.pass_time(1.0))[-1].head
    assert {"junk0", "late1", "fall"} <= set(before.classes)
    with fleet.store.transaction():
        quarantine_device(Operator(fleet.store, "user:olga", fleet.instant.wall_s), "odd", "made up")
    aside = heads(fleet.pass_time(2.0))[-1].head
    assert aside.classes == (*CLASSES, "fall")
    fleet.restart()
    fleet.send(statistics_message("odd", 1, 2, made_up(4, 41)), statistics_message("honest", 1, 2, tables(61, 3)))
    assert set(heads(fleet.pass_time(2.0))[-1].head.classes) == set(CLASSES)
    fleet.send(
        statistics_message("odd", 1, 3, made_up(3, 40)),
        statistics_message("honest", 1, 3, tables(60, 3, (*CLASSES, "fall"))),
    )
    with fleet.store.transaction():
        readmit_device(Operator(fleet.store, "user:olga", fleet.instant.wall_s), "odd")
    again = heads(fleet.pass_time(2.0))[-1].head
    assert again.classes == before.classes
    assert again.kernel.tobytes() + again.bias.tobytes() == before.kernel.tobytes() + before.bias.tobytes()


def test_many_epochs_of_one_device_put_no_more_classes_forward() -> None:
    fleet = Fleet(Policy(publish_interval_s=0.0, limits=Limits(classes_per_device_max=4)))
    for epoch in range(6):
        fleet.send(statistics_message("flood", epoch, 1, made_up(20, 9, f"junk{epoch}-", epoch)))
    assert len(published(fleet)) == len(CLASSES) + 4


def test_a_device_with_more_classes_than_any_head_can_have_is_told_so_and_nobody_else() -> None:
    fleet = Fleet()
    fleet.send(
        statistics_message("flood", 1, 1, made_up(200)), statistics_message("flood", 2, 1, made_up(57, 1, "more"))
    )
    assert fleet.refusals == {("flood", "limit"): 1}
    assert fleet.core.statistics == made_up(200).with_classes(fleet.core.statistics.classes)
    fleet.send(statistics_message("honest", 1, 1, made_up(250, 1, "other")))
    assert fleet.refusals == {("flood", "limit"): 1}


def test_classes_that_several_devices_know_come_before_those_of_one() -> None:
    fleet = Fleet(Policy(publish_interval_s=0.0, limits=Limits(classes_max=5)))
    fleet.send(statistics_message("one", 1, 1, made_up(9, 90)))
    fleet.send(*[statistics_message(name, 1, 1, made_up(1, 5, "shared")) for name in "ab"])
    fleet.send(statistics_message("c", 1, 1, made_up(1, 99, "many")))
    assert published(fleet) == (*CLASSES, "many0", "shared0")


def test_classes_that_are_left_out_count_in_the_covariance_and_come_back_to_the_bit() -> None:
    fleet = Fleet()
    parts = tables(50, 1), made_up(12, 4, seed=2)
    for number, part in enumerate(parts):
        fleet.send(statistics_message(f"d{number}", 1, 1, part))
    (head,) = [published.head for published in heads(fleet.pass_time(1.0))]
    whole = fleet_head(model().training_statistics, parts[0] + parts[1])
    assert head.classes == CLASSES
    assert np.array_equal(head.kernel, whole.kernel[:, : len(CLASSES)])
    more = parts[1] + made_up(12, 1, seed=3)
    fleet.send(statistics_message("d1", 1, 2, more))
    (head,) = [published.head for published in heads(fleet.pass_time(1.0))]
    whole = fleet_head(model().training_statistics, fleet.core.statistics)
    assert head.classes == whole.classes == fleet.core.statistics.classes
    assert len(head.classes) == len(CLASSES) + 12
    assert np.array_equal(head.kernel, whole.kernel)
    with fleet.store.transaction():
        fleet.store.request_removal("d1", 0.0)
    assert published(fleet) == CLASSES


def test_the_list_follows_from_the_reports_and_not_from_their_order() -> None:
    limits = Limits(classes_per_device_max=3, class_samples_min=2)
    reports = [
        ("a", 1, made_up(3, 3, "x")),
        ("a", 2, made_up(3, 2, "y")),
        ("b", 1, made_up(2, 2, "y")),
        ("c", 1, made_up(5, 1, "z")),
    ]
    lists = set()
    for order in itertools.permutations(reports):
        subject = ClassList(CLASSES, limits, 6)
        for device, epoch, part in order:
            subject.put(device, epoch, part)
            assert len(subject.listed) <= 3
        lists.add(subject.listed)
    assert lists == {frozenset({"x0", "x1", "x2"})} or len(lists) == 1
    fleet = Fleet(Policy(publish_interval_s=0.0, limits=limits))
    fleet.send(*[statistics_message(*report[:2], 1, report[2]) for report in reports])
    first = published(fleet)
    fleet.restart()
    fleet.send(statistics_message("d", 1, 1, tables(9, 9)))
    assert published(fleet) == first


def test_a_flood_of_classes_does_not_reach_a_prior() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("flood", 1, 1, made_up(253, 3)))
    fleet.send(*[statistics_message(name, 1, 1, tables(20, ord(name))) for name in "abc"])
    (prior,) = told(fleet.send(request("new")), "new")
    assert prior.devices == 3
    assert prior.statistics.classes == CLASSES
