"""What was taken out stays out of a store of an older day, whatever that one knew: as a backup that is put back."""

from __future__ import annotations

import json

import pytest

from aggregator.operations.membership import request_forgetting
from aggregator.operations.operator import Operator
from aggregator.policy import AveragingPolicy, Method, Policy
from aggregator.removals import RemovalRecord, keep_out
from aggregator.store.rows import (
    DEVICE_COMMANDS,
    REMOVALS,
    STATISTICS_MARKS,
    SUPPORTED_COMMANDS,
    TOLD_PRIORS,
    SupportedCommandsRow,
    ToldPriorRow,
)
from tests.aggregator.fleets import FLEET, SPACE, delta, heads, update_message
from tests.aggregator.test_forgetting import Days, three_days


def carry_over(fleet: Days, older: Days) -> None:
    """Start the service on an older store, beside which the records of `fleet` lie."""
    with fleet.store.transaction(), older.store.transaction():
        keep_out(older.store, fleet.store.rows(REMOVALS).all(), FLEET, older.wall_s)
    older.restart()


def averaging() -> Days:
    """A fleet in which four devices have made a head, and an update of another one waits for the next round."""
    fleet = Days()
    fleet.policy = Policy(publish_interval_s=0.0, method=Method.AVERAGE, averaging=AveragingPolicy(updates_min=3))
    fleet.restart()
    fleet.send(*(update_message(name, 1, delta(0.01)) for name in "bcde"))
    fleet.pass_time(5.0)
    fleet.send(update_message("a", 1, delta(0.5), base_version=1))
    return fleet


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_taken_out_of_an_epoch_that_was_set_back_before_stays_out(whole: bool) -> None:
    """The backup is of between the two: it knows of the first."""
    fleet, older = Days(), Days()
    for each in (fleet, older):
        second, third = three_days(each)
        each.forget("a", third + 5.0)
    fleet.forget("a", 0.0 if whole else second + 5.0)
    carry_over(fleet, older)
    assert older.core.statistics.same_sums(fleet.core.statistics)


def test_a_later_removal_does_not_set_it_back_to_a_mark_that_holds_what_was_taken_out() -> None:
    fleet, older = Days(), Days()
    three_days(older)
    second, _ = three_days(fleet)
    fleet.forget("a", second + 5.0)
    carry_over(fleet, older)
    older.next_day()
    older.forget("a", older.wall_s - 3600.0)
    assert older.core.statistics.same_sums(fleet.core.statistics)


def test_an_older_store_forgets_the_device_itself_its_marks_and_events() -> None:
    fleet, older = Days(), Days()
    three_days(fleet)
    three_days(older)
    fleet.forget("a")
    carry_over(fleet, older)
    with older.store.transaction():
        assert older.store.device("a") is None
        assert older.store.rows(STATISTICS_MARKS).all("a") == []
        assert older.store.device("b") is not None


def test_a_device_that_came_back_since_keeps_what_it_has_learned_since() -> None:
    fleet, other = Days(), Days()
    three_days(fleet)
    fleet.forget("a")
    other.report("a", 1, 12, epoch=2)
    carry_over(fleet, other)
    assert other.core.statistics.samples == 12
    with other.store.transaction():
        assert other.store.device("a") is not None


def test_devices_that_were_asked_to_renew_their_prior_are_asked_again_but_not_those_with_a_later_one() -> None:
    fleet, older = Days(), Days()
    for each in (fleet, older):
        for number, device in enumerate("abcd"):
            each.report(device, 1, 40 + number)
        with each.store.transaction():
            for device in ("new", "newer"):
                each.store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow(device, json.dumps(["renew-prior"])))
                each.store.rows(TOLD_PRIORS).put(ToldPriorRow(device, SPACE, 1.0))
    assert fleet.forget("a").renewed == ("new", "newer")
    with older.store.transaction():
        older.store.rows(TOLD_PRIORS).put(ToldPriorRow("newer", SPACE, fleet.wall_s + 60.0))
    carry_over(fleet, older)
    with older.store.transaction():
        assert [(row.device, row.name) for row in older.store.rows(DEVICE_COMMANDS).all()] == [("new", "renew-prior")]


@pytest.mark.parametrize("earlier_first", [True, False])
def test_of_two_moments_that_were_asked_for_before_the_service_looked_the_earlier_one_holds(
    earlier_first: bool,
) -> None:
    fleet = Days()
    moments = [at_s + 5.0 for at_s in three_days(fleet)]
    for since_s in moments if earlier_first else reversed(moments):
        with fleet.store.transaction():
            request_forgetting(Operator(fleet.store, "ada", fleet.wall_s + 60.0), "a", since_s)
    fleet.pass_time(10.0)
    assert fleet.core.statistics.samples == 30 + 20


@pytest.mark.parametrize("whole", [True, False])
def test_an_update_that_waits_goes_too_and_is_in_no_round_of_an_older_store(whole: bool) -> None:
    fleet, older = averaging(), averaging()
    record = fleet.forget("a", 0.0 if whole else fleet.wall_s - 3600.0)
    assert ([epoch.epoch for epoch in record.epochs], record.averaged) == ([1], True)
    assert RemovalRecord.decode(record.encode(), "record") == record
    carry_over(fleet, older)
    for each in (fleet, older):
        each.send(update_message("a", 2, delta(0.5), base_version=1))
        assert each.refusals == {("a", "removed"): 1}
        each.send(*(update_message(name, 2, delta(0.01), base_version=1) for name in "bcde"))
        each.pass_time(5.0)
    last = [heads(each.effects)[-1].head for each in (fleet, older)]
    assert last[0].kernel.tobytes() == last[1].kernel.tobytes()
