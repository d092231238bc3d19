"""Two heads in a row differ by enough labels of enough devices, over restarts and lost stores; who is removed is out at
once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aggregator.effects import Recorded
from aggregator.operations.membership import quarantine_device
from aggregator.operations.operator import Operator
from aggregator.policy import HeadTrialPolicy, Policy
from aggregator.removals import keep_out
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows import HEAD_CANDIDATES, HEAD_GATES, HEAD_NEWS, HeadGateRow
from headway.maths.solve import fleet_head
from headway.ports import Received
from headway.wire.topics import ALL, Kind, topic
from tests.aggregator.fleets import FLEET, SPACE, Fleet, heads, statistics_message, tables
from tests.aggregator.test_prior_differences import EVENLY, Growing, total

POLICY = Policy(publish_interval_s=0.0, head_devices_min=3, head_labels_min=20, weighing=EVENLY)
NAMES = ("a", "b", "c", "d", "e")


def growing(store: Store | None = None) -> Growing:
    return Growing(store, POLICY, NAMES)


def published(subject: Growing) -> bool:
    """Whether time brings a head; it is that of all that was told."""
    found = heads(subject.fleet.pass_time(10.0))
    if found:
        expected = fleet_head(subject.fleet.build_model().training_statistics, total(subject))
        assert np.array_equal(found[-1].head.kernel, expected.kernel)
    return bool(found)


def begun(store: Store | None = None) -> Growing:
    subject = growing(store)
    for name in NAMES:
        subject.learn(name, 10)
    assert published(subject)
    return subject


def test_the_first_head_waits_too(store: Store) -> None:
    subject = growing(store)
    subject.learn("a", 40)
    assert not published(subject)
    subject.fleet.restart()
    subject.learn("b", 40)
    assert not published(subject), "two devices are not three"
    subject.learn("c", 1)
    assert published(subject)


@pytest.mark.parametrize("seed", range(3))
def test_any_two_heads_in_a_row_differ_by_enough_whatever_happens_between(seed: int, store: Store) -> None:
    random = np.random.default_rng(seed)
    subject = begun(store)
    last, count = dict(subject.held), 0
    for _ in range(60):
        name = str(random.choice(NAMES))
        subject.learn(name, int(random.choice([1, 1, 1, 7, 30])))
        if random.random() < 0.2:
            subject.report(name)
        if random.random() < 0.2:
            subject.fleet.restart()
        if published(subject):
            news = [subject.held[name].samples - last[name].samples for name in NAMES]
            assert sum(labels > 0 for labels in news) >= 3
            assert sum(news) >= 20
            last, count = dict(subject.held), count + 1
    assert count >= 3


def test_one_label_alone_brings_no_head(store: Store) -> None:
    subject = begun(store)
    for name in ("a", "a", "b"):
        subject.learn(name, 30)
        assert not published(subject)


def test_who_is_set_aside_brings_no_head_with_what_others_have_new(store: Store) -> None:
    """A device could otherwise have a head published when it likes, by contradicting the others."""
    subject = begun(store)
    subject.learn("a", 1)
    with store.transaction():
        quarantine_device(Operator(store, "ada", subject.fleet.instant.wall_s), "e", "contradicts the others")
    assert not heads(subject.fleet.pass_time(10.0))
    assert subject.fleet.core.statistics.samples == 41, "it is out of the sum"


@pytest.mark.parametrize("killed", [False, True])
def test_who_is_removed_is_out_of_the_head_at_once(killed: bool, store: Store) -> None:
    subject = begun(store)
    with store.transaction():
        store.request_removal("a", 0.0)
        made = subject.fleet.core._remove("a", subject.fleet.instant) if killed else []
    if killed:
        assert not heads(made)
        subject.fleet.restart()
    subject.held["a"] = subject.held["a"] - subject.held["a"]
    assert published(subject)
    subject.learn("b", 40)
    assert not published(subject), "that was for once"


def test_who_was_set_aside_before_it_is_removed_is_out_of_the_head_at_once_too(store: Store) -> None:
    """Nothing of it is in the sum any more, but all of it in the head that devices have."""
    subject = begun(store)
    with store.transaction():
        quarantine_device(Operator(store, "ada", subject.fleet.instant.wall_s), "a", "contradicts the others")
    assert not heads(subject.fleet.pass_time(10.0))
    with store.transaction():
        store.request_removal("a", 0.0)
    subject.held["a"] = subject.held["a"] - subject.held["a"]
    assert published(subject)


def test_no_gate_and_no_trial_keeps_a_head_with_what_was_removed() -> None:
    """Nor brings it back later: what was good, or is tried, was made with it."""
    fleet = Fleet(replace(POLICY, head_devices_min=1, head_labels_min=1))
    fleet.send(statistics_message("a", 1, 1, tables(30, 1)), statistics_message("b", 1, 1, tables(30, 2)))
    (before,) = heads(fleet.pass_time(10.0))
    with fleet.store.transaction():
        row = HeadGateRow(SPACE, "withdrawn", "it was worse", before.encode(), before.encode(), 1.0, 1.0)
        fleet.store.rows(HEAD_GATES).put(row)
        fleet.store.request_removal("a", 0.0)
    (after,) = heads(fleet.pass_time(10.0))
    with fleet.store.transaction():
        assert fleet.store.rows(HEAD_GATES).all() == [HeadGateRow(SPACE, "open", "", b"", b"", 0.0, 0.0)]
    alone = fleet_head(fleet.build_model().training_statistics, tables(30, 2))
    assert np.array_equal(after.head.kernel, alone.kernel)
    fleet.policy = replace(fleet.policy, head_trial=HeadTrialPolicy(share=1.0))
    fleet.restart()
    fleet.send(statistics_message("c", 1, 1, tables(30, 3)))
    assert not heads(fleet.pass_time(10.0)), "it is tried first"
    with fleet.store.transaction():
        fleet.store.request_removal("c", 0.0)
    (last,) = heads(fleet.pass_time(10.0))
    assert np.array_equal(last.head.kernel, alone.kernel)
    with fleet.store.transaction():
        assert fleet.store.rows(HEAD_CANDIDATES).all() == []


def test_the_last_device_is_out_too_when_the_program_is_killed_in_between() -> None:
    """With every setting: there would be nothing left that makes a head due."""
    fleet = Growing(MemoryStore(), replace(POLICY, head_devices_min=1, head_labels_min=1), ("a",))
    fleet.learn("a", 30)
    assert published(fleet)
    with fleet.fleet.store.transaction():
        fleet.fleet.core._remove("a", fleet.fleet.instant)
    fleet.fleet.restart()
    fleet.held["a"] = fleet.held["a"] - fleet.held["a"]
    assert published(fleet)


def test_a_removal_that_an_older_store_did_not_know_brings_a_head_at_once() -> None:
    subject, older = begun(), begun()
    with subject.fleet.store.transaction():
        subject.fleet.store.request_removal("a", 0.0)
    rows = [effect.row for effect in subject.fleet.pass_time(10.0) if isinstance(effect, Recorded)]
    with older.fleet.store.transaction():
        keep_out(older.fleet.store, rows, FLEET, older.fleet.instant.wall_s)
    older.fleet.restart()
    older.held["a"] = older.held["a"] - older.held["a"]
    assert published(older)


def test_what_a_lost_store_had_published_counts_as_known(store: Store) -> None:
    """Its head is retained: the next one must differ from that by enough."""
    subject = begun()
    retained = heads(subject.fleet.effects)[-1]
    subject.fleet = Fleet(POLICY, store)
    subject.fleet.send(Received(topic(FLEET, ALL, Kind.HEAD), retained.encode(), True))
    for name in NAMES:
        subject.report(name)
        assert not published(subject), "all of it may be in the head that the broker retains"
    subject.learn("a", 20)
    subject.learn("b", 1)
    subject.fleet.restart()
    assert not published(subject)
    subject.learn("c", 1)
    assert published(subject)


def test_a_fleet_that_wants_no_minimum_keeps_no_rows() -> None:
    subject = begun()
    subject.learn("a", 1)
    subject.fleet.policy = Policy(publish_interval_s=0.0, weighing=EVENLY)
    subject.fleet.restart()
    with subject.fleet.store.transaction():
        assert subject.fleet.store.rows(HEAD_NEWS).all() == []
    assert published(subject)
    subject.learn("a", 1)
    assert published(subject)
