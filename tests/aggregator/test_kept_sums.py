"""Kept sums: whatever is killed at whichever write, they are those of the stored reports, and starting reads none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.effects import Note
from aggregator.heads.sum_bytes import DIGEST_BYTES, LENGTH_BYTES
from aggregator.heads.sum_check import check_sums
from aggregator.policy import Policy, Weighing
from aggregator.store import Collection, MemoryStore, Rows, Store, StoredStatistics
from aggregator.store.memory_rows import MemoryRows
from aggregator.store.rows import RIPE, SUMS, SumRow
from aggregator.store.sql import SqlStore
from headway.fields import canonical_json
from headway.maths.statistics import Statistics
from headway.ports import Received
from headway.wire.fleet_prior import PriorRequest
from headway.wire.messages import StatisticsReport
from headway.wire.topics import Kind, topic
from testbed.postgresql import Postgresql
from tests.aggregator.fleets import CLASSES, FLEET, SIZE, SPACE, Fleet, model, statistics_message, tables

# devices are told sums of two others, and one with far more than the others weighs less
POLICY = Policy(
    publish_interval_s=0.0,
    prior_devices_min=2,
    prior_labels_min=4,
    prior_device_labels_min=3,
    weighing=Weighing(samples_max=200, devices_min=3, samples_min=12),
)
WRITES = (
    "put_device", "put_devices", "put_statistics", "put_told", "put_number", "put_head", "remove_told", "remove_device",
    "put_contribution", "put_clearing",
)  # fmt: skip


class Killed(BaseException):
    """The process ends here."""


class MortalRows(MemoryRows[Any]):
    """Rows of a collection of which each write may be the last."""

    def __init__(self, kept: Any, collection: Collection[Any], step: Callable[[], None]) -> None:
        super().__init__(kept, collection)
        self._step = step

    def put(self, row: Any) -> None:
        self._step()
        super().put(row)

    def remove(self, *leading: Any) -> int:
        self._step()
        return super().remove(*leading)


class MortalStore(MemoryStore):
    """A store whose process is killed at a chosen write, so that the transaction it is in never was."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None
        for name in WRITES:
            setattr(self, name, self._counted(getattr(self, name)))

    def rows(self, collection: Collection[Any]) -> Rows[Any]:
        return MortalRows(self._rows.collections, collection, self._step)

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*given: Any) -> Any:
            self._step()
            return write(*given)

        return stepping

    def _step(self) -> None:
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                raise Killed


class UnreadStore(SqlStore):
    """A database of which nobody may read the reports."""

    def every_statistics(self, space: str, device: str | None = None) -> Iterator[StoredStatistics]:
        raise AssertionError(f"read the reports of {device or 'all devices'}")


@contextmanager
def database(tmp_path: Path, kind: Callable[[str], SqlStore] = SqlStore) -> Iterator[SqlStore]:
    store = kind(f"sqlite:///{tmp_path / 'store.sqlite'}")
    try:
        yield store
    finally:
        store.close()


def problems(store: Store) -> tuple[str, ...]:
    with store.transaction():
        return check_sums(store).problems


def stored(store: Store) -> Statistics:
    """The plain sum of what is stored."""
    total = Statistics.zeros(SIZE, CLASSES, SPACE)
    with store.transaction():
        for row in store.every_statistics(SPACE):
            total += StatisticsReport.decode_stored(row.payload).statistics
    return total


def request(device: str) -> Received:
    return Received(topic(FLEET, device, Kind.PRIOR_REQUEST), PriorRequest(SPACE, 0).encode())


def random_act(fleet: Fleet, random: np.random.Generator, counters: dict[str, int]) -> None:
    """A batch of reports (more labels, or fewer after a correction), a question for the others' sum, or a removal."""
    device = f"d{random.integers(0, 7)}"
    choice = random.random()
    if choice < 0.1:
        with fleet.store.transaction():
            fleet.store.request_removal(device, 1.0)
        fleet.pass_time(2.0)
    elif choice < 0.3:
        fleet.send(request(device))
    elif choice < 0.5:
        fleet.pass_time(2.0)
    else:
        batch = []
        for name in {device, f"d{random.integers(0, 7)}"}:
            counters[name] = counters.get(name, 0) + 1
            count = int(random.choice([2, 5, 9, 14, 300]))
            names = (*CLASSES, f"own-{random.integers(0, 2)}") if random.random() < 0.3 else CLASSES
            epoch = int(random.integers(1, 3))
            batch.append(statistics_message(name, epoch, counters[name], tables(count, counters[name], names)))
        fleet.send(*batch)


def made_anew(fleet: Fleet) -> Fleet:
    """The same reports in a store that keeps no sums."""
    store = MemoryStore()
    with fleet.store.transaction(), store.transaction():
        for row in fleet.store.every_statistics(SPACE):
            store.put_statistics(replace(row, samples=-1, counts=""))
    return Fleet(fleet.policy, store)


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_write_the_kept_sum_is_that_of_the_stored_reports(seed: int) -> None:
    random = np.random.default_rng(seed)
    store = MortalStore()
    fleet = Fleet(POLICY, store)
    counters: dict[str, int] = {}
    for _ in range(60):
        store.writes_left = int(random.integers(0, 12)) if random.random() < 0.5 else None
        killed = True
        with suppress(Killed):
            random_act(fleet, random, counters)
            killed = False
        store.writes_left = None
        if killed or random.random() < 0.1:
            fleet.restart()
        assert problems(store) == ()
        assert fleet.core.statistics.same_sums(stored(store))
        assert fleet.core.weighed == made_anew(fleet).core.weighed


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_changes_nothing_of_what_devices_are_told(seed: int) -> None:
    """Two fleets live through the same; one is restarted after every act."""
    fleets = [Fleet(POLICY), Fleet(POLICY)]
    randoms = [np.random.default_rng(100 + seed) for _ in fleets]
    counters: list[dict[str, int]] = [{}, {}]
    for _ in range(60):
        for fleet, random, own in zip(fleets, randoms, counters, strict=True):
            random_act(fleet, random, own)
        fleets[1].restart()
        told = [fleet.send(request(f"asks-{fleet.now_s}")) for fleet in fleets]
        assert told[0] == told[1]
        with fleets[0].store.transaction(), fleets[1].store.transaction():
            assert fleets[0].store.rows(RIPE).all() == fleets[1].store.rows(RIPE).all()


def test_starting_reads_no_report_and_neither_does_a_report(tmp_path: Path) -> None:
    with database(tmp_path) as store:
        fleet = Fleet(POLICY, store)
        fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n, (*CLASSES, "own"))) for n in range(5)])
        fleet.pass_time(1.0)
        before = fleet.core.statistics
    with database(tmp_path, UnreadStore) as store:
        again = Fleet(POLICY, store)
        assert again.core.statistics == before
        assert again.core.weighed == fleet.core.weighed
        assert again.send(request("new")) == fleet_answer(tmp_path)
        unlooked = Fleet(replace(POLICY, outliers=replace(POLICY.outliers, devices_min=0)), store)
        # who looks whether devices contradict each other reads a few reports a second; nothing else does
        unlooked.pass_time(1.0)
        assert unlooked.core.statistics == before


def fleet_answer(tmp_path: Path) -> list[Any]:
    """What a new device is told where the sums are made from the reports."""
    with database(tmp_path) as store:
        with store.transaction():
            store.rows(SUMS).remove()
        return Fleet(POLICY, store).send(request("new"))


def damaged(row: SumRow) -> SumRow:
    middle = len(row.payload) // 2
    return replace(row, payload=row.payload[:middle] + bytes([row.payload[middle] ^ 1]) + row.payload[middle + 1 :])


@pytest.mark.parametrize("name", ["counted", "told", "next"])
@pytest.mark.parametrize("harm", [damaged, lambda row: replace(row, payload=row.payload[:40]), None])
def test_a_kept_sum_that_is_damaged_or_gone_is_made_anew_and_told(
    name: str, harm: Callable[[SumRow], SumRow] | None
) -> None:
    fleet = Fleet(POLICY)
    fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n)) for n in range(5)], request("new"))
    fleet.pass_time(1.0)
    with fleet.store.transaction():
        rows = fleet.store.rows(SUMS)
        row = rows.get(SPACE, name)
        assert row is not None
        if harm is None:
            rows.remove(SPACE, name)
        else:
            rows.put(harm(row))
    if harm is not None:
        assert [problem for problem in problems(fleet.store) if "damaged" in problem]
    before = fleet.core.statistics, fleet.core.weighed
    fleet.restart()
    assert (fleet.core.statistics, fleet.core.weighed) == before
    notes = [effect.text for effect in fleet.pass_time(1.0) if isinstance(effect, Note) and effect.warning]
    assert len(notes) == 1
    assert "the sums were made anew from 5 reports" in notes[0]
    assert problems(fleet.store) == ()


def as_format_2(row: SumRow) -> SumRow:
    """As the version before wrote it: what is told did not say which classes it is of."""
    start = LENGTH_BYTES + int.from_bytes(row.payload[DIGEST_BYTES : DIGEST_BYTES + LENGTH_BYTES], "little")
    header = json.loads(row.payload[DIGEST_BYTES + LENGTH_BYTES : DIGEST_BYTES + start]) | {"format": 2}
    del header["counts"]
    text = canonical_json(header)
    body = len(text).to_bytes(LENGTH_BYTES, "little") + text + row.payload[DIGEST_BYTES + start :]
    return replace(row, payload=hashlib.sha256(body).digest() + body)


def test_sums_that_the_version_before_kept_are_made_anew_once_and_are_the_same() -> None:
    fleet = Fleet(POLICY)
    fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n)) for n in range(5)], request("new"))
    fleet.send(statistics_message("d1", 1, 2, tables(9, 7)))
    before = fleet.core.statistics, fleet.core.weighed, fleet.core._heads.told.without("d1")
    with fleet.store.transaction():
        fleet.store.rows(SUMS).put_all([as_format_2(row) for row in fleet.store.rows(SUMS).all()])
    for said in (["the kept sum has format 2; this program reads 3; the sums were made anew from 5 reports"], []):
        fleet.restart()
        assert (fleet.core.statistics, fleet.core.weighed, fleet.core._heads.told.without("d1")) == before
        assert [effect.text for effect in fleet.pass_time(1.0) if isinstance(effect, Note) and effect.warning] == said
        assert problems(fleet.store) == ()


def test_reports_that_another_program_stored_are_counted_at_the_next_start() -> None:
    fleet = Fleet(POLICY)
    fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n)) for n in range(5)])
    with fleet.store.transaction():
        # as many samples as before
        payload = StatisticsReport("d0", 1, 2, tables(8, 77)).encode()
        fleet.store.put_statistics(StoredStatistics("d0", 1, 2, SPACE, payload, 8))
    assert "is not that of the stored reports" in problems(fleet.store)[0]
    fleet.restart()
    assert fleet.core.statistics.same_sums(stored(fleet.store))
    assert problems(fleet.store) == ()


def test_a_bundle_with_other_classes_in_the_same_space_makes_the_sums_anew() -> None:
    fleet = Fleet(POLICY)
    fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n, (*CLASSES, "swim"))) for n in range(5)])
    wider = replace(
        model(),
        training_statistics=tables(300, 99, (*CLASSES, "swim")),
        start=replace(
            model().start,
            kernel=np.zeros((SIZE, 4), np.float32),
            bias=np.zeros(4, np.float32),
            classes=(*CLASSES, "swim"),
        ),
    )
    fleet.build_model = lambda: wider
    fleet.restart()
    assert fleet.core.statistics == made_anew(fleet).core.statistics
    assert fleet.core.statistics.same_sums(stored(fleet.store))


def test_it_is_checked_while_the_service_writes(tmp_path: Path, postgresql: Postgresql) -> None:
    """Who checks sees one moment, and nobody waits for them."""
    for url in (f"sqlite:///{tmp_path / 'store.sqlite'}", postgresql.new_database()):
        service, checker = SqlStore(url), SqlStore(url)
        fleet = Fleet(POLICY, service)
        fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n)) for n in range(3)])
        with checker.reading():
            assert check_sums(checker).reports == 3
            fleet.send(*[statistics_message(f"d{n}", 1, 1, tables(8, n)) for n in range(3, 6)])
            checked = check_sums(checker)
        assert (checked.reports, checked.problems) == (3, ())
        with checker.reading():
            assert check_sums(checker).reports == 6
        service.close()
        checker.close()
