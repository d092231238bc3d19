"""Floods of invented ids, events, requests and parts are bounded, and an honest device gets through them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aggregator.assembly import UNFINISHED_MAX, Assemblies
from aggregator.core import RETAINED
from aggregator.effects import Instant, Refused
from aggregator.operations.membership import quarantine_device
from aggregator.operations.operator import Operator
from aggregator.places import NEW_IN_AN_HOUR_MIN
from aggregator.policy import AveragingPolicy, DeliveryPolicy, Limits, Method, Policy
from aggregator.rates import DEVICES_MAX, Rates
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows.every import EVERY
from headway.ports import Outgoing, Received
from headway.wire.bundle_transfer import RangeRequest
from headway.wire.messages import Ack, Event, ReportPart, Status
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import (
    FLEET,
    Fleet,
    acks,
    delta,
    heads,
    refusals_told,
    statistics_message,
    tables,
    update_message,
    warnings,
)
from tests.aggregator.test_delivery import SHA256
from tests.aggregator.test_delivery import Fleet as Deliveries
from tests.aggregator.test_priors import fleet as prior_fleet
from tests.aggregator.test_priors import request, told

HOUR_S, DAY_S = 3600.0, 86_400.0
GOLDENS = Path(__file__).parents[1] / "golden" / "messages"


def status(device: str) -> Received:
    return Received(topic(FLEET, device, Kind.STATUS), Status(True, 1).encode())


def event(device: str, detail: str = "") -> Received:
    return Received(topic(FLEET, device, Kind.EVENT), Event("noise", {"text": detail}, 1.0).encode())


def flooded(store: Store | None = None, places: int = 200, ids: int = 400) -> Fleet:
    """A fleet of so many places after so many invented ids."""
    fleet = Fleet(Policy(limits=Limits(devices_max=places)), MemoryStore() if store is None else store)
    fleet.send(*[status(f"fake{number}") for number in range(ids)])
    return fleet


def count(fleet: Fleet) -> int:
    with fleet.store.transaction():
        return fleet.store.device_count()


def test_invented_ids_take_at_most_half_of_the_free_places_in_an_hour(store: Store) -> None:
    fleet = flooded(store)
    assert count(fleet) == 100
    fleet.now_s += HOUR_S - 1
    fleet.send(status("fake-later"))
    assert count(fleet) == 100
    fleet.now_s += 1
    fleet.send(*[status(f"again{number}") for number in range(400)])
    assert count(fleet) == 100 + NEW_IN_AN_HOUR_MIN
    assert set(fleet.refusals) == {("", "limit")}, "one row for all of them"
    assert len(warnings(fleet.effects)) <= 10


def test_a_device_that_contributes_gets_a_place_in_the_middle_of_a_flood(store: Store) -> None:
    fleet = flooded(store)
    for number in range(5):
        message = statistics_message(f"honest{number}", 1, 1, tables(40, number))
        assert acks(fleet.send(message)) == {f"honest{number}": [Ack(1, 1, 0)]}
        fleet.send(*[status(f"more{number}-{other}") for other in range(20)])
    assert count(fleet) == 100
    assert fleet.core.statistics.samples == 200


def test_a_device_that_sends_updates_gets_a_place_too() -> None:
    fleet = flooded()
    assert acks(fleet.send(update_message("honest", 1, delta(0.1)))) == {"honest": [Ack(1, 0, 1)]}


def test_a_full_fleet_gives_the_places_of_strangers_and_never_those_of_contributors(store: Store) -> None:
    fleet = Fleet(Policy(limits=Limits(devices_max=4)), store)
    for number in range(3):
        fleet.now_s += 10.0
        fleet.send(status(f"stranger{number}"))
    # an epoch of zero is one like any other
    fleet.send(statistics_message("old", 0, 0, tables(5, 1)))
    fleet.now_s += 100.0
    fleet.send(status("stranger0"))
    for number in range(3):
        fleet.send(statistics_message(f"honest{number}", 1, 1, tables(5, number)))
    with fleet.store.transaction():
        assert [row.device for row in fleet.store.devices()] == ["honest0", "honest1", "honest2", "old"]
    fleet.send(statistics_message("late", 1, 1, tables(5, 9)))
    assert fleet.refusals[("", "limit")] == 1
    assert fleet.core.statistics.samples == 20


def test_the_stranger_that_was_unseen_longest_goes_first() -> None:
    fleet = Fleet(Policy(limits=Limits(devices_max=3)))
    for number in range(3):
        fleet.now_s += 10.0
        fleet.send(status(f"stranger{number}"))
    fleet.send(status("stranger0"))
    fleet.send(statistics_message("honest", 1, 1, tables(5, 1)))
    with fleet.store.transaction():
        assert [row.device for row in fleet.store.devices()] == ["honest", "stranger0", "stranger2"]


def test_strangers_give_their_places_to_each_other_after_some_days(store: Store) -> None:
    fleet = Fleet(Policy(limits=Limits(devices_max=3, stranger_days=2.0)), store)
    fleet.send(*[status(f"stranger{number}") for number in range(3)])
    fleet.send(status("new"))
    assert fleet.refusals == {("", "limit"): 1}
    fleet.now_s += 2 * DAY_S
    fleet.send(status("new"), status("newer"))
    with fleet.store.transaction():
        assert [row.device for row in fleet.store.devices()] == ["new", "newer", "stranger2"]


def test_what_the_broker_retains_of_a_stranger_that_gave_its_place_is_cleared() -> None:
    fleet = Fleet(Policy(limits=Limits(devices_max=1)))
    fleet.send(status("stranger"))
    made = fleet.send(statistics_message("honest", 1, 1, tables(5, 1)))
    gone = {e.topic for e in made if isinstance(e, Outgoing) and e.retain and not e.payload}
    assert gone == {topic(FLEET, "stranger", kind) for kind in RETAINED}
    fleet.send(Received(status("stranger").topic, status("stranger").payload, retain=True))
    assert count(fleet) == 1
    assert ("", "limit") not in fleet.refusals, "the retained status that is about to go is no new attempt"


def test_a_flood_of_events_is_kept_up_to_so_many_an_hour(store: Store) -> None:
    fleet = Fleet(Policy(limits=Limits(events_per_device_hour=20)), store)
    fleet.send(statistics_message("loud", 1, 1, tables(5, 1)))
    for _ in range(10):
        fleet.send(*[event("loud", str(number)) for number in range(50)])
    fleet.send(event("quiet"))
    assert fleet.refusals == {("loud", "rate"): 480}
    with fleet.store.transaction():
        events = fleet.store.events(1000)
    assert sum(row.name == "noise" and row.device == "loud" for row in events) == 20
    assert sum(row.device == "quiet" for row in events) == 1
    assert len(events) <= 20 + 1 + 9
    assert len(warnings(fleet.effects)) <= 9
    fleet.now_s += HOUR_S / 2
    fleet.send(*[event("loud") for _ in range(50)])
    with fleet.store.transaction():
        assert sum(row.name == "noise" and row.device == "loud" for row in fleet.store.events(1000)) == 30


@pytest.mark.parametrize("character", ["x", "\\", "\u20ac", "\U0001f980"])
def test_a_long_event_is_cut_and_says_so(character: str) -> None:
    fleet = Fleet()
    fleet.send(event("loud", character * 20_000))
    with fleet.store.transaction():
        (row,) = fleet.store.events()
    assert len(row.detail.encode()) <= 4096
    assert '"cut"' in row.detail


def test_requests_for_the_others_sum_are_answered_so_often_an_hour() -> None:
    fleet = prior_fleet(limits=Limits(prior_requests_per_device_hour=3))
    answers = [told(fleet.send(request("eager")), "eager") for _ in range(10)]
    assert [len(answer) for answer in answers] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert fleet.refusals == {("eager", "rate"): 7}
    assert told(fleet.send(request("other")), "other")
    fleet.now_s += HOUR_S / 3
    assert told(fleet.send(request("eager")), "eager")


def test_requests_for_ranges_are_answered_so_often_a_minute() -> None:
    fleet = Deliveries(DeliveryPolicy(bytes_per_s=1e9, devices_per_s=1000.0, requests_per_device_minute=5))
    fleet.order("wrist-1", "wrist-2")
    with fleet.store.transaction():
        fleet.deliveries.tick(Instant(99.0, 1e9))
    payload = RangeRequest(SHA256, 0, 1).encode()

    def asks(device: str, second: float) -> bool:
        with fleet.store.transaction():
            try:
                return bool(fleet.deliveries.on_request(device, payload, Instant(second, 1e9)))
            except Refused as refused:
                return refused.reason != "rate"

    assert sum(asks("wrist-1", 100.0) for _ in range(50)) == 5
    assert asks("wrist-2", 100.0)
    assert sum(asks("wrist-1", 130.0) for _ in range(50)) == 2


def test_the_unfinished_reports_of_one_device_are_few(store: Store) -> None:
    """Else a device that begins reports and never ends them pushes out those of all others."""
    with store.transaction():
        subject = Assemblies(store, parts_max=30)
        content = np.zeros(120 * 1024, np.uint8).tobytes()
        first = ReportPart("honest", 1, 1, 0, 2 * len(content), "0" * 64, content)
        subject.take(first)
        for epoch in range(100):
            subject.take(ReportPart("flood", epoch, 1, 0, 2 * len(content), "0" * 64, content))
        assert subject.progress("honest", 1) == (1, 1)
        assert store.unfinished_epochs("flood") == list(range(100 - UNFINISHED_MAX, 100))
        assert store.part_count() == 1 + UNFINISHED_MAX


def test_what_is_remembered_of_rates_is_bounded() -> None:
    rates = Rates(2, 60.0)
    for number in range(DEVICES_MAX + 500):
        assert rates.take(f"fake{number}", 1.0)
    assert len(rates._left) == DEVICES_MAX


@pytest.mark.parametrize("aside", [True, False])
def test_one_device_does_not_take_the_places_of_all_updates_that_wait(aside: bool) -> None:
    """Of one that was set aside by hand they wait until it is readmitted; its owner goes on sending."""
    averaging = AveragingPolicy(updates_min=4, round_s=1e6)
    limits = Limits(pending_updates_max=20)
    fleet = Fleet(Policy(publish_interval_s=0.0, method=Method.AVERAGE, averaging=averaging, limits=limits))
    honest = "abcd"
    fleet.send(*(update_message(name, 1, delta(0.01)) for name in ("flood", *honest)))
    fleet.pass_time(1.0)
    if aside:
        with fleet.store.transaction():
            quarantine_device(Operator(fleet.store, "ada", fleet.instant.wall_s), "flood", "")
    for sequence in range(2, 40):
        fleet.send(update_message("flood", sequence, delta(0.01)))
    for sequence in (2, 3):
        fleet.send(*(update_message(name, sequence, delta(0.01)) for name in honest))
        assert {acks(fleet.effects)[name][-1].sequence for name in honest} == {sequence}
        before = len(heads(fleet.effects))
        fleet.pass_time(1.0)
        assert len(heads(fleet.effects)) == before + 1
    assert refusals_told(fleet.effects)["flood"][-1].refused == "limit", "and it keeps what has no place"


# what a device may send, by kind: as the goldens have it
SENT = {
    Kind.TRIAL: "trial", Kind.HEAD_TRIAL: "trial", Kind.CONFIGURATION_STATE: "configuration-state",
    Kind.COMMAND_RESULTS: "command-results", Kind.LABELS_WANTED: "labels-wanted", Kind.REPORTED: "reported",
    Kind.HEALTH: "health", Kind.EVENT: "event", Kind.METRICS: "metrics", Kind.STATUS: "status-online",
    Kind.REQUEST: "request", Kind.PRIOR_REQUEST: "prior-request",
}  # fmt: skip


@pytest.mark.parametrize("kind", SENT)
def test_of_ids_without_a_place_no_kind_of_message_leaves_a_row(kind: Kind) -> None:
    fleet = Fleet(Policy(limits=Limits(devices_max=3)))
    fleet.send(*(statistics_message(name, 1, 1, tables(20, 7)) for name in "abc"))
    payload = (GOLDENS / f"{SENT[kind]}.json").read_bytes()
    fleet.send(*(Received(topic(FLEET, f"fake{number}", kind), payload) for number in range(10)))
    with fleet.store.transaction():
        assert {row.device for row in fleet.store.devices()} == {*"abc"}
        for collection in EVERY:
            if collection.of_devices:
                kept = {row.device for row in fleet.store.rows(collection).all()}
                assert kept <= {*"abc"}, collection.name
