"""Versions of heads go on, whatever stands on the fleet's topic and whichever day the store is of."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from aggregator.heads.other_heads import VERSION_FLOOR
from aggregator.policy import Method, Policy
from aggregator.store.memory import MemoryStore
from aggregator.store.stored import StoredHead
from headway.maths.head import Head, HeadInput, HeadKind
from headway.ports import Outgoing, Received
from headway.wire.head_version import VERSION_MAX, VERSION_STEP_MAX, may_go_on_from, succeeds
from headway.wire.messages import PublishedHead
from headway.wire.topics import ALL, Kind, topic
from tests.aggregator.fleets import (
    CLASSES,
    FLEET,
    SIZE,
    SPACE,
    Fleet,
    delta,
    heads,
    statistics_message,
    tables,
    update_message,
    warnings,
)

HEAD_TOPIC = topic(FLEET, ALL, Kind.HEAD)
ABSURD = (2**53, 2**53 - 1, VERSION_MAX + 1, 2**40, 3 + VERSION_STEP_MAX)


def forged(version: int, space: str = SPACE) -> PublishedHead:
    kernel = np.full((SIZE, len(CLASSES)), 9.0, np.float32)
    head = Head(kernel, np.zeros(len(CLASSES), np.float32), HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)
    return PublishedHead(version, "exact", space, 3, 10**6, head)


def on_head_topic(payload: bytes) -> Received:
    return Received(HEAD_TOPIC, payload, retain=True)


def running(version: int = 2) -> Fleet:
    """A fleet whose newest head has this version."""
    fleet = Fleet()
    for counter in range(1, version + 1):
        fleet.send(statistics_message("a", 1, counter, tables(20 + counter, 1)))
        fleet.pass_time(1.0)
    assert heads(fleet.effects)[-1].version == version
    return fleet


@pytest.mark.parametrize("version", ABSURD)
@pytest.mark.parametrize("space", [SPACE, "another"])
def test_a_head_of_an_absurd_version_is_replaced_and_heads_go_on(version: int, space: str) -> None:
    fleet = running()
    newest = heads(fleet.effects)[-1]
    (said,) = warnings(fleet.send(on_head_topic(forged(version, space).encode())))
    assert f"has version {version}, which cannot follow version 2; it is replaced" in said
    assert [head.encode() for head in heads(fleet.pass_time(1.0))] == [newest.encode()]
    fleet.send(statistics_message("a", 1, 9, tables(60, 3)))
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [3]


@pytest.mark.parametrize("version", ABSURD)
def test_an_aggregator_without_a_store_does_not_go_on_from_an_absurd_version(version: int) -> None:
    fleet = Fleet()
    with fleet.store.transaction():
        fleet.core.await_retained_head()
        fleet.core.connected(fleet.instant)
    fleet.send(on_head_topic(forged(version).encode()))
    cleared = Outgoing(HEAD_TOPIC, b"", retain=True)
    assert cleared in fleet.pass_time(), "there is no head to put in its place yet"
    fleet.send(statistics_message("a", 1, 1, tables(20, 1)))
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [1]


@pytest.mark.parametrize(
    "payload", [b"{", b"junk", forged(1).encode()[:-7], forged(2**53).encode().replace(b"head", b"tail")]
)
def test_a_head_that_cannot_be_read_is_replaced(payload: bytes) -> None:
    fleet = running()
    (said,) = warnings(fleet.send(on_head_topic(payload)))
    assert "cannot be read" in said
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [2]


@pytest.mark.parametrize("version", [1, 2])
def test_a_forged_head_of_a_version_that_was_out_is_replaced(version: int) -> None:
    fleet = running()
    assert warnings(fleet.send(on_head_topic(forged(version).encode())))
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [2]


def test_a_flood_of_forged_heads_is_answered_at_the_pace_of_heads() -> None:
    fleet = Fleet(Policy(publish_interval_s=5.0))
    fleet.send(statistics_message("a", 1, 1, tables(20, 1)))
    fleet.pass_time()
    for version in range(2**53 - 50, 2**53):
        fleet.send(on_head_topic(forged(version).encode()))
        fleet.pass_time()
    assert len(warnings(fleet.effects)) == 1
    assert len(heads(fleet.effects)) == 1
    assert [head.version for head in heads(fleet.pass_time(5.0))] == [1]


def test_the_own_heads_that_come_back_are_no_news() -> None:
    fleet = running(5)
    for head in heads(fleet.effects):
        assert fleet.send(on_head_topic(head.encode())) == []
    assert fleet.pass_time(5.0) == []


def test_a_chain_of_the_largest_steps_ends_where_successors_are_still_readable() -> None:
    known, last = VERSION_MAX - 5, 0
    while may_go_on_from(known + 5, known):
        known = last = known + 5
    assert last == VERSION_MAX
    forged(last + 2**39).encode()
    assert PublishedHead.decode(forged(last + 2**39).encode()).version == last + 2**39


def test_averaged_heads_go_on_too() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    fleet.send(*[update_message(name, 1, delta(0.1)) for name in "abcd"])
    assert [head.version for head in heads(fleet.pass_time())] == [1]
    fleet.send(on_head_topic(forged(2**53).encode()))
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [1], "the newest head once more"
    fleet.send(*[update_message(name, 2, delta(0.1), base_version=1) for name in "abcd"])
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [2]


def test_a_store_of_an_older_day_goes_on_from_the_retained_head_though_it_has_heads_of_its_own() -> None:
    fleet = running(3)
    assert isinstance(fleet.store, MemoryStore)
    yesterday = copy.deepcopy(fleet.store)
    for counter in range(4, 9):
        fleet.send(statistics_message("a", 1, counter, tables(40 + counter, 1)))
        fleet.pass_time(1.0)
    newest = heads(fleet.effects)[-1]
    restored = Fleet(store=yesterday)
    restored.send(on_head_topic(newest.encode()))
    assert [head.version for head in heads(restored.pass_time(1.0))] == [newest.version + 1]
    # and still after it was started again, and published no head in between
    again = Fleet(store=copy.deepcopy(yesterday))
    again.send(statistics_message("a", 1, 20, tables(70, 4)))
    assert [head.version for head in heads(again.pass_time(1.0))] == [newest.version + 2]


def test_a_store_that_an_earlier_release_let_be_poisoned_is_of_use_again() -> None:
    store = MemoryStore()
    with store.transaction():
        store.put_number(VERSION_FLOOR, 2**53)
        store.put_head(StoredHead(7, "exact", SPACE, forged(7).encode(), 0.0), 16)
        for version in range(2**53 - 2, 2**53 + 2):
            store.put_head(StoredHead(version, "exact", SPACE, replace(forged(1), version=version).encode(), 0.0), 16)
    fleet = Fleet(store=store)
    fleet.send(statistics_message("a", 1, 1, tables(20, 1)))
    assert [head.version for head in heads(fleet.pass_time())] == [8]


@pytest.mark.parametrize(
    ("version", "known", "expected"),
    [
        (1, 0, True),
        (VERSION_STEP_MAX, 0, True),
        (5, 5, False),
        (4, 5, False),
        (5, 4, True),
        (5 + VERSION_STEP_MAX, 5, True),
        (6 + VERSION_STEP_MAX, 5, False),
        (2**53, 5, False),
        (5, 2**53, True),
        (2**53, 2**53, False),
    ],
)
def test_which_head_comes_after_which(version: int, known: int, expected: bool) -> None:
    assert succeeds(version, known) is expected
