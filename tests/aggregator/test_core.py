"""The core's decisions, event by event: what is stored, acknowledged, refused and published. No I/O, no sleeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aggregator.core import BOOT
from aggregator.effects import Effect
from aggregator.policy import AveragingPolicy, Limits, Method, Policy, Robust
from aggregator.registry.derived import typed_row
from headway.maths.metrics import ClassificationSums
from headway.maths.statistics import Statistics
from headway.ports import Outgoing, Received
from headway.wire.messages import Ack, Event, Metrics, Reported, Status
from headway.wire.topics import Kind, parse_topic, topic
from tests.aggregator.fleets import (
    CLASSES,
    FLEET,
    SIZE,
    SPACE,
    Fleet,
    acks,
    delta,
    heads,
    model,
    refusals_told,
    statistics_message,
    tables,
    update_message,
    warnings,
)

FIRST, SECOND = tables(20, 1), tables(35, 2)


def test_statistics_are_stored_then_acknowledged_then_published() -> None:
    fleet = Fleet()
    effects = fleet.send(statistics_message("a", 1, 4, FIRST))
    assert acks(effects) == {"a": [Ack(1, 4, 0)]}
    assert fleet.core.statistics == FIRST
    (head,) = heads(fleet.pass_time())
    assert (head.version, head.method, head.devices, head.samples, head.space) == (1, "exact", 1, 20, SPACE)


@pytest.mark.parametrize("counter", [0, 3, 4])
def test_a_stale_or_repeated_message_is_answered_with_what_is_stored(counter: int) -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 4, FIRST))
    fleet.pass_time()
    effects = fleet.send(statistics_message("a", 1, counter, FIRST))
    assert acks(effects) == {"a": [Ack(1, 4, 0)]}
    assert fleet.core.statistics == FIRST
    assert fleet.pass_time(5.0) == [], "nothing changed, so nothing is published"


def test_a_newer_table_replaces_the_older_and_a_new_epoch_adds() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, FIRST), statistics_message("a", 1, 2, SECOND))
    assert fleet.core.statistics == SECOND
    fleet.send(statistics_message("a", 77, 1, FIRST))
    assert fleet.core.statistics == SECOND + FIRST
    fleet.restart()
    assert fleet.core.statistics == SECOND + FIRST


def test_one_ack_per_device_and_epoch_in_a_batch() -> None:
    fleet = Fleet()
    batch = [statistics_message("a", epoch, counter, FIRST) for epoch in (1, 2) for counter in (1, 2, 3)]
    assert acks(fleet.send(*batch)) == {"a": [Ack(1, 3, 0), Ack(2, 3, 0)]}


def test_other_tables_under_a_known_counter_are_reported_as_a_clone() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 4, FIRST))
    effects = fleet.send(statistics_message("a", 1, 4, SECOND))
    assert fleet.refusals == {("a", "conflict"): 1}
    assert "clone" in warnings(effects)[0]
    assert fleet.core.statistics == FIRST


def test_a_forged_device_is_refused_and_not_answered() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, FIRST))
    forged = statistics_message("mallory", 1, 9, SECOND)
    effects = fleet.send(Received(topic(FLEET, "a", Kind.STATISTICS), forged.payload))
    assert acks(effects) == {}
    assert "mallory" in warnings(effects)[0]
    assert fleet.refusals == {("a", "forged"): 1}
    assert fleet.core.statistics == FIRST


def test_another_feature_space_is_refused_counted_and_answered() -> None:
    fleet = Fleet()
    effects = fleet.send(statistics_message("a", 1, 1, tables(5, 1, space="6" * 64)))
    assert fleet.refusals == {("a", "space"): 1}
    assert acks(effects) == {"a": [Ack(1, 0, 0)]}
    assert fleet.core.statistics.samples == 0


def test_refusals_are_all_counted_but_logged_and_recorded_at_powers_of_two() -> None:
    fleet = Fleet()
    fleet.send(Received(topic(FLEET, "a", Kind.STATUS), Status(True, 1).encode()))
    effects = fleet.send(*[Received(topic(FLEET, "a", Kind.METRICS), b"?")] * 9)
    assert fleet.refusals == {("a", "malformed"): 9}
    assert len(warnings(effects)) == 4
    with fleet.store.transaction():
        assert {event.name for event in fleet.store.events()} == {"refused-malformed"}


def test_invented_names_share_one_counter_and_make_no_device() -> None:
    fleet = Fleet()
    fleet.send(*[Received(topic(FLEET, f"x{i}", Kind.STATUS), b"?") for i in range(50)])
    assert fleet.refusals == {("", "malformed"): 50}
    with fleet.store.transaction():
        assert fleet.store.device_count() == 0


@pytest.mark.parametrize(
    "text",
    [
        "headway/v1/other/a/status",
        f"headway/v1/{FLEET}/_all/status",
        f"headway/v1/{FLEET}/a/nothing",
        f"headway/v1/{FLEET}/a/request",
        "headway/v2/plant/a/status",
        "",
    ],
)
def test_a_foreign_topic_is_refused(text: str) -> None:
    fleet = Fleet()
    fleet.send(Received(text, Status(True, 1).encode()))
    assert sum(fleet.refusals.values()) == 1


def test_our_own_status_and_cleared_retained_messages_are_not_refused() -> None:
    fleet = Fleet()
    own = Received(topic(FLEET, "_aggregator", Kind.STATUS), Status(True, 1).encode())
    cleared = Received(topic(FLEET, "a", Kind.STATISTICS), b"")
    assert fleet.send(own, cleared) == []
    assert fleet.refusals == {}


def test_limits_are_kept() -> None:
    fleet = Fleet(Policy(limits=Limits(devices_max=2, epochs_per_device_max=2, classes_max=4)))
    fleet.send(*[statistics_message(device, 1, 1, FIRST) for device in ("a", "b", "c")])
    fleet.send(*[statistics_message("a", epoch, 1, FIRST) for epoch in (2, 3)])
    wide = tables(30, 4, (*CLASSES, "jump", "fall", "sit", "lie", "climb"))
    fleet.send(statistics_message("b", 1, 2, wide))
    assert fleet.refusals == {("", "limit"): 1, ("a", "limit"): 1, ("b", "limit"): 1}
    assert fleet.core.statistics == FIRST + FIRST + FIRST


def test_new_classes_come_in_an_order_of_their_own() -> None:
    one, other = tables(30, 4, (*CLASSES, "zeta")), tables(30, 5, (*CLASSES, "alpha"))
    for order in ((one, other), (other, one)):
        fleet = Fleet()
        for index, statistics in enumerate(order):
            fleet.send(statistics_message(f"d{index}", 1, 1, statistics))
        (head,) = heads(fleet.pass_time())
        assert head.head.classes == (*CLASSES, "alpha", "zeta")


def test_heads_keep_their_distance_in_time() -> None:
    fleet = Fleet(Policy(publish_interval_s=10.0))
    fleet.send(statistics_message("a", 1, 1, FIRST))
    assert [head.version for head in heads(fleet.pass_time())] == [1]
    fleet.send(statistics_message("a", 1, 2, SECOND))
    assert heads(fleet.pass_time(9.0)) == []
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [2]


def test_versions_go_on_after_a_restart_and_the_broker_gets_the_head_again() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, FIRST))
    (first,) = heads(fleet.pass_time())
    fleet.restart()
    with fleet.store.transaction():
        (again,) = heads(fleet.core.connected(fleet.instant))
    assert again.encode() == first.encode()
    fleet.send(statistics_message("a", 1, 2, SECOND))
    assert [head.version for head in heads(fleet.pass_time())] == [2]


def test_versions_go_on_from_the_retained_head_after_the_store_was_lost() -> None:
    before = Fleet()
    for counter in range(1, 8):
        before.send(statistics_message("a", 1, counter, FIRST))
        before.pass_time(1.0)
    (*_, newest) = heads(before.effects)
    fresh = Fleet()
    fresh.send(Received(topic(FLEET, "_all", Kind.HEAD), newest.encode()), statistics_message("a", 1, 7, FIRST))
    assert [head.version for head in heads(fresh.pass_time())] == [newest.version + 1]


def test_removing_a_device_restores_the_bits_and_its_old_epochs_stay_out() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, FIRST))
    (before,) = heads(fleet.pass_time())
    extra = tables(50, 8, (*CLASSES, "new"))
    fleet.send(statistics_message("b", 5, 1, SECOND), statistics_message("b", 6, 1, extra))
    fleet.pass_time(1.0)
    with fleet.store.transaction():
        fleet.store.request_removal("b", 0.0)
    (after,) = heads(fleet.pass_time(1.0))
    assert after.head.kernel.tobytes() == before.head.kernel.tobytes()
    assert after.head.bias.tobytes() == before.head.bias.tobytes()
    assert after.head.classes == before.head.classes
    assert fleet.core.statistics == FIRST

    effects = fleet.send(statistics_message("b", 6, 2, extra))
    assert fleet.refusals == {("b", "removed"): 1}
    assert acks(effects) == {"b": [Ack(6, 0, 0, removed=True)]}
    fleet.send(statistics_message("b", 7, 1, SECOND))
    assert fleet.core.statistics == FIRST + SECOND


def removed_fleet() -> tuple[Fleet, list[Effect]]:
    """A fleet from which device b was just removed, and what that made."""
    fleet = Fleet()
    fleet.send(statistics_message("b", 5, 1, SECOND))
    with fleet.store.transaction():
        fleet.store.request_removal("b", 0.0)
    return fleet, fleet.pass_time(2.0)


def cleared(effects: list[Effect]) -> set[Kind]:
    """Kinds of b's retained messages that the broker is told to forget."""
    messages = [e for e in effects if isinstance(e, Outgoing) and e.retain and not e.payload]
    assert {parse_topic(message.topic).device for message in messages} <= {"b"}
    return {parse_topic(message.topic).kind for message in messages}


RETAINED = {
    Kind.STATISTICS,
    Kind.STATUS,
    Kind.REPORTED,
    Kind.TRIAL,
    Kind.LABELS_WANTED,
    Kind.DESIRED,
    Kind.CONFIGURATION,
    Kind.CONFIGURATION_STATE,
    Kind.COMMANDS,
    Kind.COMMAND_RESULTS,
}


def test_a_removed_device_is_told_at_once() -> None:
    _, effects = removed_fleet()
    assert acks(effects) == {"b": [Ack(5, 0, 0, removed=True)]}
    assert cleared(effects) == RETAINED


def test_what_the_broker_retains_of_a_removed_device_is_cleared_until_it_confirms() -> None:
    fleet, _ = removed_fleet()
    for _ in range(2):
        fleet.restart()
        with fleet.store.transaction():
            assert cleared(fleet.core.connected(fleet.instant)) == RETAINED
    with fleet.store.transaction():
        fleet.core.cleared([topic(FLEET, "b", kind) for kind in RETAINED - {Kind.STATUS}])
        assert cleared(fleet.core.connected(fleet.instant)) == {Kind.STATUS}
    fleet.restart()
    with fleet.store.transaction():
        assert cleared(fleet.core.connected(fleet.instant)) == {Kind.STATUS}


def test_what_is_still_retained_of_a_removed_device_does_not_bring_it_back() -> None:
    fleet, _ = removed_fleet()
    status = Received(topic(FLEET, "b", Kind.STATUS), Status(False, 3).encode(), retain=True)
    effects = fleet.send(status, replace(statistics_message("b", 5, 1, SECOND), retain=True))
    assert fleet.core.statistics.samples == 0
    assert cleared(effects) == {Kind.STATISTICS}
    fleet.send(replace(status, retain=False))
    with fleet.store.transaction():
        assert fleet.store.clearings() == sorted(topic(FLEET, "b", kind) for kind in RETAINED - {Kind.STATUS})


def test_a_store_without_heads_waits_for_the_retained_one() -> None:
    fleet = Fleet()
    with fleet.store.transaction():
        fleet.store.put_number(BOOT, 4)
        fleet.core.await_retained_head()
    fleet.send(statistics_message("a", 1, 1, FIRST))
    assert fleet.pass_time(100.0) == []
    with fleet.store.transaction():
        fleet.core.connected(fleet.instant)
    own = topic(FLEET, "_aggregator", Kind.STATUS)
    # words of an earlier start, and what is retained, say nothing of the order
    fleet.send(Received(own, Status(True, 3).encode()), Received(own, Status(True, 4).encode(), retain=True))
    assert fleet.pass_time(5.0) == []
    fleet.send(Received(own, Status(True, 4).encode()))
    assert [head.version for head in heads(fleet.pass_time())] == [1]


def test_the_retained_head_or_enough_patience_end_the_wait() -> None:
    before = Fleet()
    before.send(statistics_message("a", 1, 1, FIRST))
    (newest,) = heads(before.pass_time())
    for ended, version in ((True, newest.version + 1), (False, 1)):
        fleet = Fleet()
        with fleet.store.transaction():
            fleet.core.await_retained_head()
            fleet.core.connected(fleet.instant)
        fleet.send(statistics_message("a", 1, 1, FIRST))
        assert heads(fleet.pass_time(29.0)) == []
        if ended:
            fleet.send(Received(topic(FLEET, "_all", Kind.HEAD), newest.encode(), retain=True))
        assert [head.version for head in heads(fleet.pass_time(0.0 if ended else 1.0))] == [version]


def test_metrics_over_more_classes_than_the_bundles_are_kept_and_shown() -> None:
    fleet = Fleet()
    sums = ClassificationSums.empty(len(CLASSES) + 2) + ClassificationSums.of(np.eye(5, dtype=np.float32), np.arange(5))
    metrics = Metrics(1, 1, sums, sums)
    fleet.send(Received(topic(FLEET, "a", Kind.METRICS), metrics.encode()))
    assert fleet.refusals == {}
    (row,) = fleet.store.devices()
    summary = typed_row(row)
    assert summary.served_accuracy == 1.0


@pytest.mark.parametrize("count", [len(CLASSES) - 1, 300])
def test_metrics_over_fewer_or_too_many_classes_are_refused(count: int) -> None:
    fleet = Fleet()
    metrics = Metrics(1, 1, *[ClassificationSums.empty(count)] * 2)
    fleet.send(Received(topic(FLEET, "a", Kind.METRICS), metrics.encode()))
    assert sum(fleet.refusals.values()) == 1


def test_status_reported_metrics_and_events_are_kept() -> None:
    fleet = Fleet()
    reported = Reported("watch", "1.0.0", SPACE, "exact", "litert", "0.1.0", "x86_64", 8, "lda")
    sums = ClassificationSums.empty(len(CLASSES))
    messages = {
        Kind.STATUS: Status(True, 3).encode(),
        Kind.REPORTED: reported.encode(),
        Kind.METRICS: Metrics(9, 2, sums, sums).encode(),
        Kind.EVENT: Event("drift", {"clipped": 4}).encode(),
    }
    fleet.send(*[Received(topic(FLEET, "a", kind), payload) for kind, payload in messages.items()])
    fleet.send(Received(topic(FLEET, "a", Kind.METRICS), Metrics(9, 1, sums, sums).encode()))
    fleet.send(Received(topic(FLEET, "a", Kind.STATUS), Status(False, 2).encode()))
    with fleet.store.transaction():
        row = fleet.store.device("a")
        assert row is not None
        assert (row.online, row.boot) == (True, 3), "the will of an earlier boot came late"
        assert Reported.decode(row.reported) == reported
        assert row.metrics_counter == 2
        assert [(event.device, event.name) for event in fleet.store.events()] == [("a", "drift")]
    assert fleet.refusals == {}


def test_updates_are_averaged_once_each() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    batch = [update_message(device, 1, delta(0.1)) for device in "abcd"]
    effects = fleet.send(*batch, *batch)
    assert all(found == [Ack(1, 0, 1)] for found in acks(effects).values())
    (head,) = heads(fleet.pass_time())
    assert (head.version, head.method, head.devices, head.samples) == (1, "average", 4, 40)
    start = model().start
    assert start is not None
    assert head.head.bias == pytest.approx(start.bias + 0.1, rel=1e-6)

    fleet.restart()
    fleet.send(*batch)
    assert heads(fleet.pass_time(1000.0)) == [], "a repeat after the round counts no more than one within it"


def test_a_round_closes_with_fewer_updates_after_its_time() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    fleet.send(update_message("a", 1, delta(0.1)))
    assert heads(fleet.pass_time()) == []
    assert heads(fleet.pass_time(59.0)) == []
    assert len(heads(fleet.pass_time(1.0))) == 1
    fleet.send(update_message("a", 2, delta(0.1)))
    fleet.restart()
    fleet.pass_time()
    assert [head.version for head in heads(fleet.pass_time(60.0))] == [2], "a waiting round survives a restart"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (update_message("a", 1, delta(0.1), base_version=5), "future"),
        (update_message("a", 1, delta(0.1)[:, 1:]), "shape"),
    ],
)
def test_an_update_that_does_not_fit_is_refused_but_blocks_no_other(message: Received, reason: str) -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE))
    assert acks(fleet.send(message)) == {"a": [Ack(1, 0, 1)]}
    assert fleet.refusals == {("a", reason): 1}
    assert acks(fleet.send(update_message("a", 2, delta(0.1)))) == {"a": [Ack(1, 0, 2)]}


def test_a_gap_is_not_acknowledged_away() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE))
    first, second, third = (update_message("a", sequence, delta(0.1)) for sequence in (1, 2, 3))
    assert acks(fleet.send(first, third)) == {"a": [Ack(1, 0, 1)]}
    assert fleet.refusals == {("a", "gap"): 1}
    assert acks(fleet.send(second, third)) == {"a": [Ack(1, 0, 3)]}


def test_a_fresh_store_takes_a_device_up_where_it_is() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE))
    assert acks(fleet.send(update_message("a", 57, delta(0.1), acked=56))) == {"a": [Ack(1, 0, 57)]}


def test_a_first_update_that_was_lost_is_not_acknowledged_away() -> None:
    """Found by the simulation, seed 29: update 5 arrived first, and 1 to 4 were forgotten."""
    fleet = Fleet(Policy(method=Method.AVERAGE))
    assert acks(fleet.send(update_message("a", 5, delta(0.1)))) == {"a": [Ack(1, 0, 0)]}
    assert fleet.refusals == {("a", "gap"): 1}


def test_an_exact_fleet_takes_updates_off_the_devices_hands_and_says_so() -> None:
    fleet = Fleet()
    effects = fleet.send(update_message("a", 1, delta(0.1)))
    assert acks(effects) == {"a": [Ack(1, 0, 1)]}
    assert fleet.refusals == {("a", "unused"): 1}


def test_a_transaction_that_fails_leaves_the_store_as_it_was() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, FIRST))
    newer = statistics_message("a", 1, 2, SECOND)

    def fail_before_the_commit() -> None:
        with fleet.store.transaction():
            fleet.core.receive([newer], fleet.instant)
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        fail_before_the_commit()
    fleet.restart()
    assert fleet.core.statistics == FIRST


def test_an_empty_fleet_publishes_nothing() -> None:
    fleet = Fleet()
    assert fleet.pass_time(100.0) == []
    assert fleet.core.statistics == Statistics.zeros(SIZE, CLASSES, SPACE)


def test_a_round_takes_devices_and_not_updates_for_its_measure() -> None:
    # as rounds were averaged before `aligned`: who turns away from the others is not left out
    averaging = AveragingPolicy(robust=Robust.NONE, norm_factor=2.0)
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0, averaging=averaging))
    fleet.send(*[update_message("loud", number, delta(5.0), count=2**40) for number in range(1, 5)])
    assert heads(fleet.pass_time(1.0)) == [], "four updates of one device are no round"
    fleet.send(*[update_message(device, 1, delta(0.1)) for device in "abc"])
    (head,) = heads(fleet.pass_time(1.0))
    assert (head.devices, head.samples) == (4, 40), "what one device sent is one contribution"
    expected = 1.0 * (3 * 0.1 + 2 * 0.1) / 4
    assert head.head.bias == pytest.approx(model().start.bias + expected, rel=1e-5)
    fleet.send(*[update_message(device, 2, delta(0.1)) for device in "abc"])
    assert heads(fleet.pass_time(1.0)) == []
    fleet.send(update_message("loud", 5, delta(0.1)))
    assert heads(fleet.pass_time(1.0))[0].samples == 40


def test_a_fleet_smaller_than_a_round_waits_for_all_of_its_devices() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    fleet.send(update_message("a", 1, delta(0.1)), update_message("b", 1, delta(0.1)))
    assert heads(fleet.pass_time(1.0))[0].devices == 2
    fleet.send(update_message("a", 2, delta(0.1)))
    assert heads(fleet.pass_time(1.0)) == []
    fleet.send(update_message("b", 2, delta(0.1)))
    assert heads(fleet.pass_time(1.0))[0].devices == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Received(topic(FLEET, "a", Kind.STATISTICS), b"no report"), "malformed"),
        (Received(topic(FLEET, "a", Kind.UPDATE), b"\0" * 64), "malformed"),
        (statistics_message("a", 1, 2, tables(10, 1, space="6" * 64)), "space"),
        (statistics_message("a", 1, 2, tables(3000, 1, tuple(f"c{n}" for n in range(300)))), "limit"),
        (update_message("a", 1, delta(0.1)), "unused"),
    ],
)
def test_every_refused_report_is_answered_with_the_reason(message: Received, reason: str) -> None:
    fleet = Fleet()
    fleet.send(statistics_message("other", 1, 1, FIRST))
    effects = fleet.send(*[message] * 3)
    (told,) = refusals_told(effects)["a"]
    assert (told.refused, told.counter, told.part_counter) == (reason, 0, 0)
    assert told.problem
    assert told.epoch == (0 if reason == "malformed" else 1)
    first = next(effect for effect in effects if isinstance(effect, Outgoing))
    assert Ack.decode(first.payload) == told, "before the ack that tells what is stored"
    assert not refusals_told(fleet.send(statistics_message("a", 1, 3, SECOND)))


def test_reasons_that_an_ordinary_ack_tells_and_forged_senders_get_no_other_answer() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE))
    assert not refusals_told(fleet.send(update_message("a", 5, delta(0.1))))
    forged = Received(topic(FLEET, "b", Kind.UPDATE), update_message("a", 1, delta(0.1)).payload)
    assert not refusals_told(fleet.send(forged))
    assert sum(fleet.refusals.values()) == 2
