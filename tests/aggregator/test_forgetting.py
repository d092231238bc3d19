"""A device is taken out, or set back to a mark, to the bit; a record tells of it; and it stays out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.backup.carrying import WorldFacts
from aggregator.core import Aggregator
from aggregator.effects import Recorded
from aggregator.operations.membership import request_forgetting, request_removal
from aggregator.operations.operator import Operator
from aggregator.policy import Policy
from aggregator.removals import RemovalRecord, keep_out, record_problems, records_in, write_records
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows import (
    DEVICE_COMMANDS,
    FORGET_REQUESTS,
    REMOVALS,
    STATISTICS_MARKS,
    SUPPORTED_COMMANDS,
    ForgetRequestRow,
    RemovalRow,
)
from aggregator.store.rows import SupportedCommandsRow as Supported
from headway.ports import Received
from headway.private_keys import Signer, generate_key, read_signer
from headway.wire import Kind, PriorRequest, tables_sha256, topic
from tests.aggregator.fleets import FLEET, SPACE, Fleet, acks, model, statistics_message, tables

DAY_S = 86_400.0


class Days(Fleet):
    """A fleet over days; its server signs records where it has a key."""

    def __init__(self, store: Store | None = None, signer: Signer | None = None) -> None:
        self.signer = signer
        super().__init__(Policy(publish_interval_s=0.0), store or MemoryStore())

    def restart(self) -> None:
        with self.store.transaction():
            self.core = Aggregator(FLEET, model(), self.policy, self.store, signer=self.signer)

    def report(self, device: str, counter: int, count: int, epoch: int = 1) -> None:
        self.send(statistics_message(device, epoch, counter, tables(count, 7)))

    def forget(self, device: str, since_s: float = 0.0) -> RemovalRecord:
        """All, or what came since a moment of the wall clock."""
        with self.store.transaction():
            if since_s:
                self.store.rows(FORGET_REQUESTS).put(ForgetRequestRow(device, since_s, "local:test", 0.0))
            else:
                self.store.request_removal(device, 0.0)
        made = self.pass_time(10.0)
        (recorded,) = [effect.row for effect in made if isinstance(effect, Recorded)]
        return RemovalRecord.decode(recorded.record, "record")

    @property
    def wall_s(self) -> float:
        return self.instant.wall_s

    def next_day(self) -> float:
        """Noon of the next day; the wall clock then."""
        self.now_s += DAY_S
        return self.wall_s


def three_days(fleet: Days) -> tuple[float, float]:
    """Device `a` reports 20, 45 and 80 labels on three days, `b` 30 on the first; when the last two days began."""
    fleet.report("b", 1, 30)
    fleet.report("a", 1, 10)
    fleet.report("a", 2, 20)
    second = fleet.next_day()
    fleet.report("a", 3, 30)
    fleet.report("a", 4, 45)
    third = fleet.next_day()
    fleet.report("a", 5, 80)
    return second, third


def of(*reports: tuple[str, int]) -> Days:
    """What a fleet is that never heard of anything else."""
    fleet = Days()
    for device, count in reports:
        fleet.report(device, 1, count)
    return fleet


def test_a_device_is_set_back_to_its_newest_mark_before_the_time_to_the_bit() -> None:
    fleet = Days()
    second, third = three_days(fleet)
    record = fleet.forget("a", third + 5.0)
    alone = of(("b", 30), ("a", 45))
    assert fleet.core.statistics.same_sums(alone.core.statistics)
    assert record.sums == {SPACE: tables_sha256(alone.core.statistics)}
    (epoch,) = record.epochs
    assert (epoch.samples, epoch.kept_samples, epoch.kept_counter, epoch.mark_s) == (80, 45, 4, third)
    assert record.since_s == third + 5.0
    fleet_of_first = fleet.forget("a", second + 5.0)
    assert fleet_of_first.epochs[0].kept_samples == 20, "and further back from there"
    assert fleet.core.statistics.same_sums(of(("b", 30), ("a", 20)).core.statistics)


def test_the_record_names_the_head_that_follows_without_it() -> None:
    fleet, alone = Days(), of(("b", 30), ("a", 45))
    _, third = three_days(fleet)
    record = fleet.forget("a", third + 5.0)
    head, same = fleet.core._heads.sum.head(), alone.core._heads.sum.head()
    assert head.kernel.tobytes() == same.kernel.tobytes()
    names = b"".join(name.encode() + b"\0" for name in same.classes)
    digest = hashlib.sha256(names + same.kernel.tobytes() + same.bias.tobytes()).hexdigest()
    assert record.heads == {SPACE: digest}


def test_before_the_first_mark_nothing_is_kept() -> None:
    fleet = Days()
    three_days(fleet)
    record = fleet.forget("a", 1000.0)
    assert [epoch.kept_samples for epoch in record.epochs] == [0]
    assert fleet.core.statistics.same_sums(of(("b", 30)).core.statistics)


def test_the_device_stays_and_is_told_that_its_epoch_is_over() -> None:
    fleet = Days()
    _, third = three_days(fleet)
    fleet.forget("a", third + 5.0)
    assert acks(fleet.effects)["a"][-1].removed
    with fleet.store.transaction():
        assert fleet.store.device("a") is not None
    fleet.report("a", 6, 90)
    assert acks(fleet.effects)["a"][-1].removed, "nothing more of that epoch is taken"
    fleet.report("a", 1, 12, epoch=2)
    assert fleet.core.statistics.samples == 30 + 45 + 12


@pytest.mark.parametrize("whole", [True, False])
def test_the_record_names_who_asked_and_not_the_services_user(whole: bool) -> None:
    fleet = Days()
    _, third = three_days(fleet)
    with fleet.store.transaction():
        operator = Operator(fleet.store, "ada", fleet.wall_s + 60.0)
        if whole:
            request_removal(operator, "a")
        else:
            request_forgetting(operator, "a", third + 5.0)
    (recorded,) = [effect.row for effect in fleet.pass_time(10.0) if isinstance(effect, Recorded)]
    assert RemovalRecord.decode(recorded.record, "record").who == "ada"
    with fleet.store.transaction():
        assert fleet.store.rows(FORGET_REQUESTS).all() == []


def test_a_restart_changes_nothing_of_it() -> None:
    fleet = Days()
    _, third = three_days(fleet)
    fleet.forget("a", third + 5.0)
    before = fleet.core.statistics
    fleet.restart()
    assert fleet.core.statistics.same_sums(before)


def test_marks_are_bounded_and_one_a_day() -> None:
    fleet = Days()
    for counter in range(1, 40):
        fleet.report("a", 2 * counter, counter)
        fleet.report("a", 2 * counter + 1, counter)
        fleet.next_day()
    with fleet.store.transaction():
        marks = fleet.store.rows(STATISTICS_MARKS).all("a", 1)
    assert len(marks) == fleet.policy.limits.marks_per_epoch
    assert len({mark.day for mark in marks}) == len(marks)


def test_records_are_signed_and_follow_each_other(tmp_path: Path) -> None:
    generate_key(tmp_path / "heads.pem")
    signer = read_signer(tmp_path / "heads.pem", "keygen")
    fleet = Days(signer=signer)
    _, third = three_days(fleet)
    fleet.forget("a", third + 5.0)
    fleet.forget("b")
    with fleet.store.transaction():
        rows = fleet.store.rows(REMOVALS).all()
    assert write_records(tmp_path / "removals", rows) == 2
    assert records_in(tmp_path / "removals") == rows
    keys = [signer.public_key]
    assert record_problems(rows, keys) == []
    assert record_problems(rows[1:], keys) != []
    altered = replace(rows[0], record=rows[0].record.replace('"device":"a"', '"device":"c"'))
    assert any("not signed" in line for line in record_problems([altered, rows[1]], keys))
    assert any("does not follow" in line for line in record_problems([altered, rows[1]], keys))
    assert record_problems([replace(rows[0], signature=""), rows[1]], keys) == ["removal 1 is not signed by this key"]


@pytest.mark.parametrize("whole", [True, False])
def test_an_older_store_that_was_put_back_does_not_bring_it_back(whole: bool, tmp_path: Path) -> None:
    fleet = Days()
    _, third = three_days(fleet)
    older = Days()
    three_days(older)
    fleet.forget("a", 0.0 if whole else third + 5.0)
    with fleet.store.transaction():
        write_records(tmp_path, fleet.store.rows(REMOVALS).all())
    with older.store.transaction():
        assert keep_out(older.store, records_in(tmp_path), FLEET, older.wall_s) == 1
        assert keep_out(older.store, records_in(tmp_path), FLEET, older.wall_s) == 0
    older.restart()
    assert older.core.statistics.same_sums(fleet.core.statistics)
    older.report("a", 9, 99)
    assert older.core.statistics.same_sums(fleet.core.statistics), "nor do reports of then"


def test_a_record_that_names_every_device_of_a_large_fleet_is_read_again(tmp_path: Path) -> None:
    """Else the server would not start any more."""
    fleet = Days()
    three_days(fleet)
    record = replace(fleet.forget("a"), renewed=tuple(f"{number:064}" for number in range(30_000)))
    rows = [RemovalRow(1, record.encode(), "")]
    write_records(tmp_path, rows)
    assert records_in(tmp_path) == rows
    assert RemovalRecord.decode(rows[0].record, "record") == record


def test_a_new_store_takes_nothing_of_what_was_removed(tmp_path: Path) -> None:
    fleet = Days()
    three_days(fleet)
    fleet.forget("a")
    new = Days()
    with fleet.store.transaction(), new.store.transaction():
        keep_out(new.store, fleet.store.rows(REMOVALS).all(), FLEET, new.wall_s)
    new.restart()
    new.report("a", 5, 80)
    assert new.core.statistics.samples == 0


def test_devices_that_started_from_a_prior_with_it_are_told_to_renew_theirs() -> None:
    fleet = Days()
    for number, device in enumerate("abcd"):
        fleet.report(device, 1, 40 + number)
    for device in ("new", "old"):
        fleet.send(Received(topic(FLEET, device, Kind.PRIOR_REQUEST), PriorRequest(SPACE, 0).encode()))
    with fleet.store.transaction():
        fleet.store.rows(SUPPORTED_COMMANDS).put(Supported("new", json.dumps(["renew-prior"])))
        fleet.store.rows(SUPPORTED_COMMANDS).put(Supported("old", json.dumps(["restart"])))
        facts = WorldFacts.of(fleet.store)
    assert {row.device for row in facts.told} == {"new", "old"}, "a store that is put back must know it, too"
    record = fleet.forget("a")
    assert (record.renewed, record.not_renewed) == (("new",), ("old",))
    with fleet.store.transaction():
        (asked,) = fleet.store.rows(DEVICE_COMMANDS).all("new")
    assert asked.name == "renew-prior"
