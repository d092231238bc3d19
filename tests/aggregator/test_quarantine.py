"""Reports with which there is no head: the last one stays, they are set aside, seen, and counted again when good."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.cli import main
from aggregator.operations import Operator, quarantine_device, readmit_device
from aggregator.policy import AveragingPolicy, Method, Policy, Robust
from aggregator.store import DeviceRow, StoredHead
from aggregator.store.location import sqlite_url
from aggregator.store.rows import EVERY_EPOCH, QUARANTINED, SUMS
from aggregator.store.sql import SqlStore
from headway.maths import Head, Statistics, fleet_head
from headway.ports import Received
from headway.wire import Kind, Update, topic
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
    statistics_message,
    tables,
    update_message,
)
from tests.aggregator.fleets import warnings as warned

POISON = (*CLASSES, "poison")


def poison(count: int, seed: int) -> Statistics:
    return tables(count, seed, POISON)


@pytest.fixture(autouse=True, params=["singular", "not finite"])
def no_head_of_poison(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for whatever linear algebra may trip over: with a class of that name there is no head."""

    def solve(source: Statistics, devices: Statistics, shrinkage: float) -> Head:
        if "poison" not in devices.classes:
            return fleet_head(source, devices, shrinkage)
        if request.param == "singular":
            raise np.linalg.LinAlgError("Singular matrix")
        head = fleet_head(source, devices, shrinkage)
        return replace(head, bias=head.bias * np.float32(np.nan))

    monkeypatch.setattr("aggregator.heads.fleet_model.fleet_head", solve)


def set_aside(fleet: Fleet) -> list[tuple[str, int]]:
    with fleet.store.transaction():
        return [(row.device, row.epoch) for row in fleet.store.rows(QUARANTINED).all()]


def test_the_newest_report_without_which_there_is_a_head_is_set_aside_and_the_others_count() -> None:
    fleet = Fleet()
    fleet.send(*[statistics_message(f"d{number}", 1, 1, tables(40, number)) for number in range(3)])
    (first,) = heads(fleet.pass_time(1.0))
    sent = fleet.send(
        statistics_message("d0", 1, 2, tables(50, 7)),
        statistics_message("bad", 5, 1, poison(30, 8)),
        statistics_message("d1", 1, 2, tables(60, 9)),
    )
    assert {name: every[0].counter for name, every in acks(sent).items()} == {"d0": 2, "bad": 1, "d1": 2}
    (second,) = heads(fleet.pass_time(1.0))
    assert (second.version, second.samples) == (first.version + 1, 50 + 60 + 40)
    assert set_aside(fleet) == [("bad", 5)]
    (note,) = [text for text in warned(fleet.effects) if "set aside" in text]
    assert "bad reported in epoch 5" in note
    assert "edge-fleet readmit bad" in note
    with fleet.store.transaction():
        assert [(event.device, event.name) for event in fleet.store.events()] == [("bad", "quarantined")]


def test_it_stays_aside_over_a_restart_and_until_the_next_good_report() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("good", 1, 1, tables(40, 1)), statistics_message("bad", 5, 1, poison(30, 8)))
    assert heads(fleet.pass_time(1.0))[0].samples == 40
    fleet.restart()
    assert fleet.core.statistics == tables(40, 1)
    assert heads(fleet.pass_time(1.0))[0].samples == 40
    fleet.send(statistics_message("bad", 5, 2, poison(31, 8)))
    assert heads(fleet.pass_time(1.0))[0].samples == 40, "another bad one is set aside again"
    fleet.send(statistics_message("bad", 5, 3, tables(32, 8)))
    assert heads(fleet.pass_time(1.0))[0].samples == 72
    assert set_aside(fleet) == []
    fleet.restart()
    assert fleet.core.statistics.samples == 72


def test_what_was_stored_before_is_found_when_the_service_starts_with_it() -> None:
    fleet = Fleet()
    fleet.send(*[statistics_message(f"d{number}", 1, 1, tables(20 + number, number)) for number in range(5)])
    fleet.send(statistics_message("bad", 5, 1, poison(30, 8)), statistics_message("worse", 5, 1, poison(30, 9)))
    fleet.restart()
    (head,) = heads(fleet.pass_time(1.0))
    assert head.samples == 20 + 21 + 22 + 23 + 24
    assert set_aside(fleet) == [("bad", 5), ("worse", 5)]


def test_removing_the_device_forgets_what_was_set_aside() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("good", 1, 1, tables(40, 1)), statistics_message("bad", 5, 1, poison(30, 8)))
    fleet.pass_time(1.0)
    with fleet.store.transaction():
        fleet.store.request_removal("bad", 0.0)
    fleet.pass_time(10.0)
    assert set_aside(fleet) == []
    assert fleet.core.statistics == tables(40, 1)


def test_an_operator_sees_it_and_has_it_counted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(store=SqlStore(sqlite_url(tmp_path)))
    fleet.send(statistics_message("good", 1, 1, tables(40, 1)), statistics_message("bad", 5, 1, poison(30, 8)))
    fleet.pass_time(1.0)
    place = ["--state-dir", str(tmp_path)]
    assert main(["devices", *place]) == 0
    assert "bad: what it reported is set aside and does not count" in capsys.readouterr().err
    assert main(["readmit", "good", *place]) == 2
    assert "nothing of 'good' is set aside" in capsys.readouterr().err
    assert main(["readmit", "bad", *place]) == 0
    assert heads(fleet.pass_time(2.0))[0].samples == 40
    assert set_aside(fleet) == [("bad", 5)], "there is still no head with it"
    monkeypatch.undo()
    assert main(["readmit", "bad", *place]) == 0
    assert heads(fleet.pass_time(2.0))[0].samples == 70


def test_without_any_head_the_last_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, tables(40, 1)))
    fleet.pass_time(1.0)

    def fails(*_: object) -> Head:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr("aggregator.heads.fleet_model.fleet_head", fails)
    fleet.send(statistics_message("a", 1, 2, tables(41, 1)))
    effects = fleet.pass_time(1.0)
    assert heads(effects) == []
    assert "with whatever is left out" in warned(effects)[0]
    assert set_aside(fleet) == []
    assert fleet.core.statistics == tables(41, 1)


def test_a_stored_average_that_cannot_be_read_is_passed_over() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    for sequence in (1, 2):
        fleet.send(*[update_message(device, sequence, delta(0.1)) for device in "abcd"])
        (good,) = heads(fleet.pass_time(1.0))
    with fleet.store.transaction():
        damaged = StoredHead(3, "average", good.space, good.encode()[:-9], 0.0)
        fleet.store.put_head(damaged, 16)
    fleet.send(*[update_message(device, 3, delta(0.1)) for device in "abcd"])
    effects = fleet.pass_time(1.0)
    (head,) = heads(effects)
    assert head.version == 4
    assert head.head.bias == pytest.approx(good.head.bias + 0.1 * 4**-0.5, rel=1e-5), "three versions old"
    assert "stored head 3 cannot be read" in warned(effects)[0]


def averaging_fleet() -> Fleet:
    """With one head out, and an update of each of four devices that waits."""
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    for sequence in (1, 2):
        fleet.send(*[update_message(device, sequence, delta(0.1)) for device in "abcd"])
        if sequence == 1:
            fleet.pass_time(1.0)
    return fleet


def test_a_stored_update_that_cannot_be_read_is_left_out_of_its_round() -> None:
    fleet = averaging_fleet()
    with fleet.store.transaction():
        (row,) = [row for row in fleet.store.updates(SPACE) if row.device == "b"]
        fleet.store.put_update(replace(row, payload=row.payload[:-3]))
    fleet.restart()
    effects = fleet.pass_time(1.0)
    assert heads(effects)[0].devices == 3
    assert "left out of the average: update 2 of b" in warned(effects)[0]
    fleet.send(*[update_message(device, 3, delta(0.1)) for device in "abcd"])
    assert heads(fleet.pass_time(1.0))[0].devices == 4


def cut(payload: bytes) -> bytes:
    return payload[:-3]


def not_finite(payload: bytes) -> bytes:
    return payload[:-4] + np.float32(np.nan).tobytes()


@pytest.mark.parametrize("damage", [cut, not_finite])
@pytest.mark.parametrize("robust", [Robust.ALIGNED, Robust.NONE, Robust.MEDIAN])
def test_an_update_that_is_damaged_while_it_waits_is_left_out_a_round_later_or_not_read_at_all(
    damage: Callable[[bytes], bytes], robust: Robust
) -> None:
    """An aggregator that runs has added it when it came; a rule over all weights of all devices reads it once
    more."""
    policy = Policy(method=Method.AVERAGE, publish_interval_s=0.0, averaging=AveragingPolicy(robust=robust))
    fleet = Fleet(policy)
    fleet.send(*[update_message(device, 1, delta(0.1)) for device in "abcdefghij"])
    with fleet.store.transaction():
        (row,) = [row for row in fleet.store.updates(SPACE) if row.device == "b"]
        fleet.store.put_update(replace(row, payload=damage(row.payload)))
    effects = fleet.pass_time(1.0)
    if robust is not Robust.MEDIAN:
        assert heads(effects)[0].devices == 10
    else:
        assert not heads(effects)
        assert "update 1 of b cannot be read again" in warned(effects)[0]
        effects = fleet.pass_time(1.0)
        assert heads(effects)[0].devices == 9
        assert "left out of the average: update 1 of b" in warned(effects)[0]
    assert heads(effects)[0].head.bias == pytest.approx(model().start.bias + 0.1, rel=1e-5)


def test_averaging_begins_anew_under_a_bundle_with_other_classes_in_the_same_feature_space() -> None:
    fleet = averaging_fleet()
    wider = model()
    start = wider.start
    kernel = np.concatenate([start.kernel, start.kernel[:, :1]], axis=1)
    head = replace(start, kernel=kernel, bias=np.zeros(4, np.float32), classes=(*CLASSES, "swim"))
    known = wider.training_statistics.with_classes(head.classes)
    fleet.build_model = lambda: replace(wider, training_statistics=known, start=head)
    fleet.restart()
    notes = warned(fleet.pass_time(1.0))
    assert "averaging begins anew" in notes[0]
    assert sum("the bundle has other classes now" in note for note in notes) == 4
    ours = [Update("a", 2, 1, 0, 10, SPACE, head.classes, np.full((4, SIZE + 1), 0.1, np.float32))]
    ours.append(replace(ours[0], device="b"))
    fleet.send(*[Received(topic(FLEET, update.device, Kind.UPDATE), update.encode()) for update in ours])
    fleet.pass_time(1.0)
    made = heads(fleet.pass_time(60.0))[-1].head
    assert made.bias == pytest.approx(np.full(4, 0.1 * 2**-0.5), rel=1e-5)


def test_a_device_set_aside_by_hand_counts_nowhere_until_it_is_readmitted_and_then_to_the_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(store=SqlStore(sqlite_url(tmp_path)))
    good, odd, more = tables(40, 1), tables(30, 8), tables(35, 8)
    fleet.send(statistics_message("good", 1, 1, good), statistics_message("odd", 5, 1, odd))
    assert heads(fleet.pass_time(1.0))[0].samples == 70
    before = fleet.core.statistics
    place = ["--state-dir", str(tmp_path)]
    assert main(["quarantine", "odd", "--reason", "carried to the workshop", *place]) == 0
    assert heads(fleet.pass_time(10.0))[0].samples == 40
    assert fleet.core.statistics == good
    sent = fleet.send(statistics_message("odd", 5, 2, more), statistics_message("odd", 6, 1, tables(9, 3)))
    assert acks(sent)["odd"][-1].counter == 1, "stored and acknowledged as before"
    fleet.pass_time(10.0)
    assert fleet.core.statistics == good
    fleet.restart()
    fleet.pass_time(10.0)
    assert fleet.core.statistics == good
    capsys.readouterr()
    assert main(["devices", *place]) == 0
    assert "set aside by hand: carried to the workshop. To count it again" in capsys.readouterr().err
    assert main(["devices", "--filter", "quarantined", "--json", *place]) == 0
    assert [row["device"] for row in json.loads(capsys.readouterr().out)] == ["odd"]
    assert main(["readmit", "odd", *place]) == 0
    assert heads(fleet.pass_time(10.0))[0].samples == 40 + 35 + 9
    assert fleet.core.statistics == good + more + tables(9, 3)
    fleet.send(statistics_message("odd", 5, 3, odd))
    fleet.restart()
    assert fleet.core.statistics == before + tables(9, 3)
    assert main(["audit", "--json", *place]) == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert [(row["act"], row["subject"]) for row in told] == [("quarantine", "odd"), ("readmit", "odd")]


@pytest.mark.parametrize("kept", [True, False])
def test_a_device_set_aside_or_readmitted_while_the_service_is_off_is_so_when_it_starts(kept: bool) -> None:
    fleet = Fleet()
    good, odd = tables(40, 1), tables(30, 8)
    fleet.send(statistics_message("good", 1, 1, good), statistics_message("odd", 5, 1, odd))
    fleet.pass_time(1.0)
    for act, counted in (
        (lambda operator: quarantine_device(operator, "odd", ""), good),
        (lambda operator: readmit_device(operator, "odd"), good + odd),
    ):
        with fleet.store.transaction():
            act(Operator(fleet.store, "operator", fleet.instant.wall_s))
            if not kept:
                fleet.store.rows(SUMS).remove(SPACE)
        fleet.restart()
        assert fleet.core.statistics == counted
        with fleet.store.transaction():
            aside = [row.epoch for row in fleet.store.rows(QUARANTINED).all("odd")]
        assert aside == ([EVERY_EPOCH, 5] if counted == good else []), "as a service that runs writes it down"
        fleet.pass_time(60.0)
        assert fleet.core.statistics == counted


def test_updates_of_a_device_set_aside_wait_and_count_once_when_it_is_readmitted() -> None:
    fleet = Fleet(Policy(method=Method.AVERAGE, publish_interval_s=0.0))
    with fleet.store.transaction():
        fleet.store.put_device(DeviceRow("e", 1.0, 1.0))
        quarantine_device(Operator(fleet.store, "olga", 1.0), "e", "")
    fleet.pass_time(10.0)
    fleet.send(*[update_message(device, 1, delta(0.1)) for device in "abcde"])
    (head,) = heads(fleet.pass_time(1.0))
    assert head.devices == 4
    assert heads(fleet.pass_time(100_000.0)) == []
    with fleet.store.transaction():
        assert [row.device for row in fleet.store.updates(SPACE)] == ["e"]
        readmit_device(Operator(fleet.store, "olga", 1.0), "e")
    again = [head for _ in range(3) for head in heads(fleet.pass_time(100_000.0))]
    assert [head.devices for head in again] == [1]
    with fleet.store.transaction():
        assert fleet.store.update_count() == 0
