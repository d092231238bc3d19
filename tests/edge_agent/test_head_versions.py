"""No version of a fleet head, however large, shuts out those that come after it."""

from __future__ import annotations

import pytest

from edge_agent.learner.operations import AdoptHead
from edge_agent.store.journal import Entry, redo
from tests.edge_agent.test_journal import new_agent
from tests.edge_agent.test_learner import learner, published


@pytest.mark.parametrize("version", [2**53, 2**53 - 1, 2**45, 2**33 + 10])
def test_a_device_with_a_head_ignores_one_of_an_absurd_version(version: int) -> None:
    subject = learner()
    assert subject.adopt(published(10))
    assert not subject.adopt(published(version))
    assert subject.adopt(published(11))


@pytest.mark.parametrize("version", [2**53, 2**53 - 1, 2**45, 2**33 + 10])
def test_a_device_that_took_an_absurd_version_up_as_its_first_takes_the_fleets_next(version: int) -> None:
    subject = learner()
    assert subject.adopt(published(version))
    assert subject.adopt(published(3))
    assert not subject.adopt(published(2))


def test_a_saved_head_of_an_absurd_version_gives_way_after_a_restart() -> None:
    before, after = learner(), learner()
    before.adopt(published(2**53))
    after.restore(before.encode())
    assert after.adopt(published(3))


def test_a_head_that_comes_late_is_not_taken_up() -> None:
    subject = learner()
    subject.adopt(published(500))
    assert not subject.adopt(published(499))


def test_what_the_broker_retains_is_the_newest_though_its_version_is_lower() -> None:
    """An aggregator whose store was lost, on a broker that had lost the retained head, counts from one again."""
    subject = new_agent("exact")
    newer, older = published(500).encode(), published(4).encode()
    assert subject.head_published(newer, retained=True)
    assert not subject.head_published(older), "one that is late looks the same"
    assert subject.head_published(older, retained=True)
    assert subject.learner.fleet_version == 4
    assert not subject.head_published(older, retained=True), "once is enough"
    assert subject.head_published(published(5).encode())


def test_a_lower_version_is_taken_up_again_from_the_journal() -> None:
    taken_up = AdoptHead(published(500).encode()), AdoptHead(published(4).encode(), retained=True)
    repeated = learner()
    redo(repeated, Entry.decode(Entry(b"", taken_up).encode()).operations)
    assert repeated.fleet_version == 4
