"""Devices are compared in steps, between which reports are taken in: the verdicts are those of one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.frozen_reports import FrozenReports
from aggregator.heads.review import Review
from aggregator.heads.steps import Steps, Work, whole
from aggregator.policy import OutlierPolicy
from aggregator.store import StoredStatistics
from aggregator.store.rows import VOUCHED, VouchedRow
from headway.maths import Statistics, merge
from headway.wire.messages import StatisticsReport
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, Fleet, statistics_message, tables
from tests.aggregator.test_outliers import OFTEN, aside, told, trained, with_liar

# a table a step
SMALL = replace(OFTEN, outliers=OutlierPolicy(interval_s=0.0, step_s=1e-6))


def in_small_steps() -> Fleet:
    """A fleet of which one lies, whose comparison has begun."""
    fleet = trained()
    fleet.policy = SMALL
    fleet.restart()
    with_liar(fleet)
    fleet.pass_time(5.0)
    assert fleet.core.at_work
    assert aside(fleet) == {}
    return fleet


def finish(fleet: Fleet, between: Callable[[int], object] = lambda step: None) -> int:
    """Go on until nothing is left; how many steps that took."""
    steps = 0
    while fleet.core.at_work:
        between(steps)
        fleet.pass_time(0.01, idle=True)
        steps += 1
    return steps


def test_what_comes_between_the_steps_changes_no_verdict() -> None:
    at_once = trained()
    with_liar(at_once)
    at_once.pass_time(5.0)
    fleet = in_small_steps()

    def all_change(step: int) -> None:
        # all report anew, the liar the truth and an honest one lies, and whoever is new lies too
        if step < 8:
            number = step if step < 6 else 50
            name = "liar" if step == 6 else f"d{step}"
            fleet.send(statistics_message(name, 3 if step == 6 else 1, 2, told(90, number, rotated=step in (0, 7))))
            fleet.send(statistics_message(name, 9, 1, told(90, 60 + step, rotated=True)))

    assert finish(fleet, all_change) > 8
    assert aside(fleet) == aside(at_once), "in the same words, and nobody else"
    fleet.pass_time(5.0)
    finish(fleet)
    assert "liar" not in aside(fleet), "the next one judges what came meanwhile"


def test_while_messages_wait_a_step_comes_once_in_twenty_times_what_it_takes() -> None:
    fleet = in_small_steps()
    assert not fleet.core.due(fleet.instant)
    assert fleet.core.due(fleet.instant, idle=True)
    fleet.now_s += 0.5
    assert fleet.core.due(fleet.instant)
    finish(fleet)
    assert sorted(aside(fleet)) == ["liar"]
    assert not fleet.core.due(fleet.instant, idle=True)


def test_of_a_device_that_is_removed_meanwhile_nothing_decides() -> None:
    without, fleet = trained(), in_small_steps()
    for number in range(1, 6):
        without.send(statistics_message(f"d{number}", 1, 1, told(60, number)))
    without.send(statistics_message("liar", 3, 1, told(60, 50, rotated=True)))
    without.pass_time(5.0)
    with fleet.store.transaction():
        fleet.store.request_removal("d0", 0.0)
    fleet.pass_time(5.0)
    assert finish(fleet) > 8, "it has begun anew"
    assert aside(fleet) == aside(without)


def test_what_is_decided_before_a_verdict_is_carried_out_stands() -> None:
    fleet = trained()
    fleet.policy = SMALL
    fleet.restart()
    with_liar(fleet, honest=9)
    for number, name in enumerate(("vouched", "withdrawn")):
        fleet.send(statistics_message(name, 1, 1, told(60, 70 + number, rotated=True)))
    fleet.pass_time(5.0)
    while not aside(fleet):
        fleet.pass_time(0.01, idle=True)
    assert fleet.core.at_work
    assert sorted(aside(fleet)) == ["liar"]
    with fleet.store.transaction():
        fleet.store.rows(VOUCHED).put(VouchedRow("vouched", 0.0))
        fleet.store.request_removal("withdrawn", 0.0)
    fleet.pass_time(5.0)
    finish(fleet)
    assert sorted(aside(fleet)) == ["liar"]


@pytest.mark.parametrize("idle", [True, False])
def test_where_too_much_would_be_kept_the_rest_is_done_at_once(idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while messages keep coming and the next step has time: more would be kept until then."""
    monkeypatch.setattr("aggregator.heads.review.BUSY_SHARE", 1e-9)
    monkeypatch.setattr("aggregator.heads.review.KEPT_BYTES_MAX", 100)
    fleet = in_small_steps()
    fleet.send(statistics_message("d0", 1, 2, told(90, 0)))
    fleet.pass_time(1.0, idle=idle)
    assert not fleet.core.at_work
    assert sorted(aside(fleet)) == ["liar"]


def test_what_was_stored_at_one_moment_is_read_whatever_takes_its_place() -> None:
    fleet = Fleet()
    parts = {(device, epoch): tables(5 + epoch, epoch) for device in ("a", "b") for epoch in (1, 2)}

    def row(device: str, epoch: int, counter: int, part: Statistics) -> StoredStatistics:
        payload = StatisticsReport(device, epoch, counter, part).encode()
        return StoredStatistics(device, epoch, counter, SPACE, payload, part.samples)

    with fleet.store.transaction():
        for (device, epoch), part in parts.items():
            fleet.store.put_statistics(row(device, epoch, 1, part))
        frozen = FrozenReports(Statistics.zeros(SIZE, CLASSES, SPACE), fleet.store, ["a"])
        for counter in (2, 3):
            for device, epoch in (("a", 1), ("a", 3), ("b", 1)):
                known = fleet.store.statistics(device, epoch)
                fleet.store.put_statistics(row(device, epoch, counter, tables(30, counter)))
                frozen.replaced(device, epoch, known)
        assert frozen.tables("a") == merge([parts["a", 1], parts["a", 2]])
        assert frozen.bytes == len(row("a", 1, 1, parts["a", 1]).payload), "once, and of nobody else"


def test_where_others_store_reports_too_a_comparison_begins_anew_and_is_done_at_once() -> None:
    """What they replace is gone before this process knows of it."""
    fleet, source = Fleet(), told(90, 99)
    parts = {f"d{number}": told(60, number, rotated=number == 0) for number in range(7)}
    counted = FleetSum(source, 0.02, SMALL.weighing, parts.__getitem__)
    with fleet.store.transaction():
        review = Review(source, SMALL, fleet.store)
        for device, part in parts.items():
            payload = StatisticsReport(device, 1, 1, part).encode()
            fleet.store.put_statistics(StoredStatistics(device, 1, 1, SPACE, payload, part.samples))
            counted.replace(device, None, part)
            review.put(device, 1, part)
        assert review.look(fleet.instant, counted) == {}
        assert review.goes_on_at_s > fleet.instant.monotonic_s
        review.changed("d3")
        assert review.goes_on_at_s == float("inf")
        fleet.now_s += 60.0
        assert [device for device, found in review.look(fleet.instant, counted).items() if found.named] == ["d0"]


def test_steps_are_as_long_as_their_budget() -> None:
    def counting() -> Steps[str]:
        for _ in range(10):
            yield 1.0
        return "done"

    work = Work(counting())
    assert [work.go_on(4.0), work.go_on(0.0), work.spent_s] == [None, None, 5.0]
    assert work.go_on(100.0) == ("done",)
    assert whole(counting()) == "done"
