"""An operator goes back to an earlier head: it is published again and held; sums go on, and nothing is lost by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aggregator.audit import entries
from aggregator.cli import main
from aggregator.held_heads import held_version
from aggregator.operations import Operator, hold_head, let_go
from aggregator.policy import Method, Policy
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.errors import UnknownNameError
from headway.wire import PublishedHead
from tests.aggregator.fleets import SPACE, Fleet, delta, heads, statistics_message, tables, update_message, warnings

LATER_S = 5.0


def learned(versions: int) -> tuple[Fleet, list[PublishedHead]]:
    """A fleet with so many heads."""
    fleet, found = Fleet(), []
    for number in range(1, versions + 1):
        fleet.send(statistics_message("a", 1, number, tables(20 * number, 1)))
        found += heads(fleet.pass_time(LATER_S))
    return fleet, found


def hold(fleet: Fleet, version: int) -> None:
    with fleet.store.transaction():
        hold_head(Operator(fleet.store, "user:olga", 0.0), SPACE, version)


def same(head: PublishedHead, other: PublishedHead) -> bool:
    return np.array_equal(head.head.kernel, other.head.kernel) and np.array_equal(head.head.bias, other.head.bias)


def test_an_earlier_head_is_published_again_under_a_new_version_and_none_follows() -> None:
    fleet, found = learned(3)
    hold(fleet, 1)
    (again,) = heads(fleet.pass_time(LATER_S))
    assert (again.version, again.devices, again.samples) == (4, 1, 20)
    assert same(again, found[0])
    fleet.send(statistics_message("a", 1, 4, tables(80, 1)), statistics_message("b", 1, 1, tables(30, 2)))
    assert heads(fleet.pass_time(LATER_S)) == []
    assert fleet.core.statistics.samples == 110
    with fleet.store.transaction():
        acts = [(row.act, row.subject) for row in entries(fleet.store)]
    assert acts == [("hold-head", "1")]


def test_let_go_the_next_head_is_the_one_of_all_that_was_learned() -> None:
    fleet, _ = learned(2)
    hold(fleet, 1)
    fleet.pass_time(LATER_S)
    fleet.send(statistics_message("b", 1, 1, tables(30, 2)))
    fleet.pass_time(LATER_S)
    with fleet.store.transaction():
        let_go(Operator(fleet.store, "user:olga", 0.0), SPACE)
    (head,) = heads(fleet.pass_time(LATER_S))
    other, _ = learned(2)
    other.send(statistics_message("b", 1, 1, tables(30, 2)))
    assert same(head, heads(other.pass_time(LATER_S))[0])
    assert (head.version, head.devices, head.samples) == (4, 2, 70)


@pytest.mark.parametrize("told", [False, True], ids=["before it was published again", "after"])
def test_a_restart_goes_on_holding_and_publishes_it_once(told: bool) -> None:
    fleet, _ = learned(3)
    hold(fleet, 2)
    if told:
        assert [head.version for head in heads(fleet.pass_time(LATER_S))] == [4]
    fleet.restart()
    assert [head.version for head in heads(fleet.pass_time(LATER_S))] == ([] if told else [4])
    fleet.send(statistics_message("a", 1, 9, tables(200, 1)))
    assert heads(fleet.pass_time(LATER_S)) == []


def test_nothing_new_is_learned_by_letting_go_and_a_head_follows_all_the_same() -> None:
    fleet, found = learned(2)
    hold(fleet, 1)
    fleet.pass_time(LATER_S)
    with fleet.store.transaction():
        let_go(Operator(fleet.store, "user:olga", 0.0), SPACE)
    (head,) = heads(fleet.pass_time(LATER_S))
    assert same(head, found[1])


def test_averaging_goes_on_from_the_head_that_was_held() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    made = []
    for number in (1, 2):
        fleet.send(*(update_message(name, number, delta(0.1 * number), base_version=number - 1) for name in ("a", "b")))
        made += heads(fleet.pass_time(LATER_S))
    assert [head.version for head in made] == [1, 2]
    hold(fleet, 1)
    (again,) = heads(fleet.pass_time(LATER_S))
    assert same(again, made[0])
    fleet.send(*(update_message(name, 3, delta(0.2), base_version=3) for name in ("a", "b")))
    assert heads(fleet.pass_time(LATER_S)) == []
    with fleet.store.transaction():
        let_go(Operator(fleet.store, "user:olga", 0.0), SPACE)
    (head,) = heads(fleet.pass_time(LATER_S))
    # the same step from the first head as before
    assert np.allclose(head.head.kernel, made[1].head.kernel, atol=1e-5)


def test_what_is_not_kept_cannot_be_held_and_what_is_lost_is_let_go() -> None:
    fleet, _ = learned(2)
    with pytest.raises(UnknownNameError, match="head 7 of this feature space is not kept; there are 2, 1"):
        hold(fleet, 7)
    with fleet.store.transaction(), pytest.raises(UnknownNameError, match="no head of this feature space is held"):
        let_go(Operator(fleet.store, "user:olga", 0.0), SPACE)
    hold(fleet, 1)
    with fleet.store.transaction():
        fleet.store.remove_heads_after(0)
    effects = fleet.pass_time(LATER_S)
    assert warnings(effects) == ["head 1 is not kept any more and cannot be held"]
    with fleet.store.transaction():
        assert held_version(fleet.store, SPACE) == 0


def test_the_command_holds_a_head_and_lets_it_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    fleet = Fleet(store=store)
    for number in (1, 2):
        fleet.send(statistics_message("a", 1, number, tables(20 * number, 1)))
        fleet.pass_time(LATER_S)
    place = ["--state-dir", str(tmp_path)]
    assert main(["heads", "--hold", "1", "--space", SPACE[:4], *place]) == 0
    assert "head 1 of " in capsys.readouterr().out
    assert main(["heads", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)[0]["held"] == 1
    assert [head.version for head in heads(fleet.pass_time(LATER_S))] == [3]
    assert main(["heads", "--let-go", *place]) == 0
    assert "head 1 of " in capsys.readouterr().out
    assert main(["heads", "--hold", "1", "--let-go", *place]) == 2
    assert main(["heads", "--hold", "1", "--space", "f", *place]) == 2
    assert "0 feature spaces begin with 'f'; give --space, of 5555" in capsys.readouterr().err
