"""Workers on one PostgreSQL, and a publisher that takes over: the fleet is what it is when one process does it all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from aggregator.config import Settings
from aggregator.effects import Effect, Recorded
from aggregator.heads import FleetModel, check_sums, say_what_to_hand_over
from aggregator.policy import Limits, OutlierPolicy, Policy, Weighing
from aggregator.removals import keep_out
from aggregator.store import MemoryStore
from aggregator.store.location import SCHEMA
from aggregator.store.rows import (
    APART,
    EVERY_EPOCH,
    QUARANTINED,
    TALLIES,
    WORKER_CHANGES,
    WORKER_SUMS,
    QuarantineRow,
)
from aggregator.store.rows import SUMS as KEPT_SUMS
from aggregator.store.sql import SqlStore
from aggregator.store.working import WorkerStore
from aggregator.workers import Worker
from headway.errors import BundleError, ConfigError, StoreError
from headway.maths import Statistics
from headway.ports import Received
from headway.wire import Event, History, Kind, StatisticsReport, change_between, topic
from tests.aggregator.fleets import (
    CLASSES,
    FLEET,
    SIZE,
    SPACE,
    Fleet,
    Shelf,
    acks,
    heads,
    model,
    statistics_message,
    tables,
)

OTHER = "6" * 64
SHELF = Shelf({SPACE: model(), OTHER: model(space=OTHER)})
# one that has far more than the others weighs less, and who contradicts them is looked at all the time
SUMS = Policy(
    publish_interval_s=0.0,
    prior_devices_min=0,
    weighing=Weighing(samples_max=200, devices_min=3, samples_min=12),
    outliers=OutlierPolicy(interval_s=0.0),
)
REPORTS = replace(SUMS, prior_devices_min=2, prior_labels_min=4, prior_device_labels_min=3)


class WorkedFleet(Fleet):
    """A publisher whose reports are taken in by workers. Its store is the publisher's."""

    def __init__(self, url: str, policy: Policy, workers: int = 2) -> None:
        self._url, self._worker_count = url, workers
        self.workers: list[tuple[WorkerStore, Worker]] = []
        super().__init__(policy, SqlStore(url), bundles=SHELF)

    def restart(self) -> None:
        from aggregator.core import Aggregator

        with self.store.transaction():
            self.core = Aggregator(
                FLEET, self.build_model(), self.policy, self.store, bundles=self.bundles, workers=True
            )
        for store, _ in self.workers:
            store.close()
        self.workers = []
        for number in range(self._worker_count):
            store = WorkerStore(self._url)
            with store.transaction():
                self.workers.append((store, Worker(FLEET, f"w{number}", model(), self.policy, store, SHELF)))

    def close(self) -> None:
        assert isinstance(self.store, SqlStore)
        for store in [self.store, *(store for store, _ in self.workers)]:
            store.close()

    def hand(self, number: int, *messages: Received) -> list[Effect]:
        """A batch for one worker, in a transaction of its own."""
        store, worker = self.workers[number]
        with store.transaction():
            return worker.receive(messages, self.instant)


@pytest.fixture
def url(made_database: str, postgresql_store: SqlStore) -> str:
    return made_database


@pytest.fixture(params=["sums", "reports"])
def worked(request: pytest.FixtureRequest, url: str) -> Iterator[WorkedFleet]:
    fleet = WorkedFleet(url, SUMS if request.param == "sums" else REPORTS)
    yield fleet
    fleet.close()


def state(fleet: Fleet) -> tuple[object, ...]:
    """What the fleet's head follows from."""
    with fleet.store.transaction():
        fleet.core.receive([], fleet.instant)
        names = sorted({row.device for row in fleet.store.contributions(SPACE)})
        over = [(name, fleet.core._heads.sum.weight(name)) for name in names]
        held = [(row.device, row.epoch) for row in fleet.store.rows(QUARANTINED).all()]
        spaces = [fleet.core.statistics_in(space) for space in (SPACE, OTHER)]
        return spaces, fleet.core.weighed, over, held, fleet.core._heads.classes.listed


def random_message(random: np.random.Generator, counters: dict[tuple[str, int], int], label: int) -> Received:
    """A report that is new, old or of a class, an epoch or a feature space of its own; few samples or far too many."""
    number = int(random.integers(0, 7))
    device, epoch = f"d{number}", 1 + 1000 * int(random.random() < 0.2)
    counter = counters.get((device, epoch), 0) + int(random.integers(0, 3))
    counters[device, epoch] = max(counter, 1)
    names = (*CLASSES, f"own-{random.integers(0, 2)}") if random.random() < 0.3 else CLASSES
    space = OTHER if number == 6 else SPACE
    count = int(random.choice([2, 9, 14, 300]))
    return statistics_message(device, epoch, max(counter, 1), tables(count, 7 * label + counter, names, space))


def publisher_act(fleet: Fleet, choice: float, device: str) -> None:
    """What an operator and time do to a fleet."""
    if choice < 0.3:
        with fleet.store.transaction():
            fleet.store.request_removal(device, 1.0)
    elif choice < 0.9:
        quarantine(fleet, choice < 0.6, device)
    fleet.pass_time(2.0)


def quarantine(fleet: Fleet, into: bool, device: str) -> None:
    """What an operator does, also while the publisher is off. into: or out of it, with every report."""
    with fleet.store.transaction():
        if into:
            fleet.store.rows(QUARANTINED).put(QuarantineRow(device, EVERY_EPOCH, "by hand", 1.0))
        else:
            fleet.store.rows(QUARANTINED).remove(device)


@pytest.mark.parametrize("seed", range(2))
def test_workers_and_a_publisher_end_as_one_process_does_to_the_bit(worked: WorkedFleet, seed: int) -> None:
    """Whoever takes which report, however long the publisher waits, and when it starts again."""
    alone = Fleet(worked.policy, MemoryStore(), bundles=SHELF)
    random, counters = np.random.default_rng(seed), dict[tuple[str, int], int]()
    for step in range(40):
        choice = random.random()
        if choice < 0.75:
            batch = [random_message(random, counters, step) for _ in range(random.integers(1, 4))]
            told, expected = worked.hand(int(random.integers(0, 2)), *batch), alone.send(*batch)
            assert acks(told) == acks(expected)
        elif choice < 0.9:
            device, act = f"d{random.integers(0, 7)}", random.random()
            for fleet in (worked, alone):
                publisher_act(fleet, act, device)
            assert state(worked) == state(alone)
        else:
            # nobody was there to take over what is stored now, nor saw what an operator did before or after it
            act = random.random()
            batch = [random_message(random, counters, step) for _ in range(random.integers(1, 4))]
            device = f"d{random.integers(0, 7)}"
            for fleet in (worked, alone):
                quarantine(fleet, act < 0.5, device)
            told, expected = worked.hand(int(random.integers(0, 2)), *batch), alone.send(*batch)
            assert acks(told) == acks(expected)
            for fleet in (worked, alone):
                quarantine(fleet, act < 0.25, device)
            worked.restart()
            alone.restart()
        with worked.store.transaction():
            assert check_sums(worked.store).problems == ()
    assert state(worked) == state(alone)
    with worked.store.transaction():
        assert worked.store.rows(WORKER_CHANGES).count() == 0
        assert worked.store.rows(WORKER_SUMS).count() == 0


def test_one_device_in_two_workers_at_the_same_time_ends_the_same_in_either_order(url: str) -> None:
    fleet = WorkedFleet(url, SUMS)
    reports = {counter: tables(counter, counter) for counter in range(1, 41)}

    def take(number: int, counters: list[int]) -> None:
        for start in range(0, len(counters), 4):
            batch = [statistics_message("d1", 1, counter, reports[counter]) for counter in counters[start : start + 4]]
            fleet.hand(number, *batch)

    shuffled = np.random.default_rng(3).permutation(np.arange(1, 41)).tolist()
    threads = [threading.Thread(target=take, args=(number, shuffled[number::2])) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state(fleet)
    assert fleet.core.statistics.same_sums(reports[40])
    fleet.close()


def test_a_change_and_a_clone_are_told_apart_as_by_one_process(worked: WorkedFleet) -> None:
    alone = Fleet(worked.policy, MemoryStore(), bundles=SHELF)
    first = StatisticsReport("d1", 1, 5, tables(5, 1), History(11))
    later = StatisticsReport("d1", 1, 9, first.statistics + tables(4, 2), History(11))
    clone = StatisticsReport("d1", 1, 10, first.statistics + tables(5, 3), History(12, (11,), (5,)))
    change = change_between(first, later)
    assert change is not None
    at = topic(FLEET, "d1", Kind.STATISTICS)
    steps = [change.encode(), first.encode(), change.encode(), later.encode(), clone.encode(), b"no report"]
    for number, payload in enumerate(steps):
        told, expected = worked.hand(number % 2, Received(at, payload)), alone.send(Received(at, payload))
        assert told == expected
    assert worked.refusals == alone.refusals
    assert state(worked) == state(alone)


def test_metrics_and_events_of_a_device_are_what_one_process_makes_of_them(worked: WorkedFleet) -> None:
    alone = Fleet(worked.policy, MemoryStore(), bundles=SHELF)
    event = Event("drift", {"by": "error"}).encode()
    batches = [
        [statistics_message("d1", 1, 1, tables(5, 1)), Received(topic(FLEET, "d1", Kind.EVENT), event)],
        [Received(topic(FLEET, "d2", Kind.EVENT), event), Received(topic(FLEET, "d1", Kind.HEALTH), b"{}")],
    ]
    for number, batch in enumerate(batches):
        worked.hand(number, *batch)
        alone.send(*batch)
    for fleet in (worked, alone):
        fleet.pass_time(2.0)
    with worked.store.transaction(), alone.store.transaction():
        for name in ("d1", "d2"):
            assert worked.store.device(name) == alone.store.device(name)
            assert worked.store.registry.get(name) == alone.store.registry.get(name)
        assert worked.store.events() == alone.store.events()
        assert worked.store.rows(TALLIES).all() == alone.store.rows(TALLIES).all()
    assert worked.refusals == alone.refusals


def test_who_is_one_too_many_is_refused_by_workers_too(url: str) -> None:
    fleet = WorkedFleet(url, replace(SUMS, limits=Limits(devices_max=2, epochs_per_device_max=1)))
    messages = [statistics_message(f"d{number}", 1, 1, tables(3, number)) for number in range(3)]
    for number, message in enumerate(messages):
        fleet.hand(number % 2, message)
    fleet.hand(0, statistics_message("d0", 2, 1, tables(3, 5)))
    assert fleet.refusals == {("", "limit"): 1, ("d0", "limit"): 1}
    assert state(fleet)[0][0].same_sums(tables(3, 0) + tables(3, 1))  # type: ignore[index]
    fleet.close()


def test_a_report_of_a_space_for_which_there_is_no_place_counts_once_there_is_one(worked: WorkedFleet) -> None:
    worked.policy = replace(worked.policy, limits=Limits(spaces_max=1))
    worked.restart()
    worked.hand(0, statistics_message("d1", 1, 1, tables(3, 1, CLASSES, OTHER)))
    worked.pass_time(2.0)
    with worked.store.transaction():
        assert worked.store.rows(WORKER_CHANGES).count() == 1
    worked.policy = replace(worked.policy, limits=Limits())
    worked.restart()
    assert state(worked)[0][1].same_sums(tables(3, 1, CLASSES, OTHER))  # type: ignore[index]


def test_a_bundle_that_is_gone_from_the_shelf_ends_no_worker(url: str) -> None:
    class Emptied(Shelf):
        def model(self, space: str) -> FleetModel:
            raise BundleError("it cannot be read: No such file or directory")

    fleet = WorkedFleet(url, SUMS, workers=0)
    store = WorkerStore(url)
    with store.transaction():
        fleet.workers.append((store, Worker(FLEET, "w0", model(), SUMS, store, Emptied(SHELF.models))))
    for counter in (1, 2):
        fleet.hand(0, statistics_message("d1", 1, counter, tables(3, 1, CLASSES, OTHER)),
                   statistics_message("d2", 1, counter, tables(3, counter)))  # fmt: skip
    assert fleet.refusals == {("d1", "space"): 2}
    assert state(fleet)[0][0].same_sums(tables(3, 2))  # type: ignore[index]
    fleet.close()


@pytest.mark.parametrize("known", [False, True])
def test_who_was_removed_stays_out_of_a_backup_in_which_its_report_waits(worked: WorkedFleet, known: bool) -> None:
    alone = Fleet(worked.policy, MemoryStore(), bundles=SHELF)
    for counter in (1, 2):
        messages = [statistics_message(name, 1, counter, tables(5 + counter, counter)) for name in ("d1", "d2")]
        worked.hand(0, *messages)
        alone.send(*messages)
        if known and counter == 1:
            worked.pass_time(2.0)
    publisher_act(alone, 0.0, "d1")
    removals = [effect.row for effect in alone.effects if isinstance(effect, Recorded)]
    with worked.store.transaction():
        assert keep_out(worked.store, removals, FLEET) == 1
    worked.restart()
    assert state(worked) == state(alone)
    with worked.store.transaction():
        assert check_sums(worked.store).problems == ()


def test_who_weighs_less_stands_apart_until_it_does_no_longer(url: str) -> None:
    fleet = WorkedFleet(url, SUMS)
    fleet.hand(0, *(statistics_message(f"d{number}", 1, 1, tables(20, number)) for number in range(4)))
    fleet.hand(1, statistics_message("big", 1, 1, tables(1000, 9)))
    fleet.pass_time(2.0)
    with fleet.store.transaction():
        assert [row.device for row in fleet.store.rows(APART).all(SPACE)] == ["big"]
    fleet.hand(1, statistics_message("big", 1, 2, tables(10, 10)))
    fleet.pass_time(2.0)
    with fleet.store.transaction():
        assert fleet.store.rows(APART).count() == 0
        assert check_sums(fleet.store).problems == ()
    fleet.close()


@pytest.mark.parametrize("anew", [False, True])
def test_what_workers_stored_while_no_publisher_ran_is_news_for_the_next_head(worked: WorkedFleet, anew: bool) -> None:
    worked.policy = replace(worked.policy, head_devices_min=2, head_labels_min=4)
    worked.restart()
    worked.hand(0, *(statistics_message(f"d{number}", 1, 1, tables(20, number)) for number in range(3)))
    assert heads(worked.pass_time(2.0))
    for counter, device in enumerate(("d0", "d1"), start=2):
        worked.hand(1, statistics_message(device, 1, counter, tables(20 + counter, counter)))
        if anew:
            with worked.store.transaction():
                worked.store.rows(KEPT_SUMS).remove()
        worked.restart()
        assert bool(heads(worked.pass_time(2.0))) == (device == "d1"), "one device is not two"


def test_workers_stop_where_nobody_takes_over(url: str) -> None:
    fleet = WorkedFleet(url, SUMS, workers=1)
    with fleet.store.transaction():
        say_what_to_hand_over(fleet.store, SUMS, workers=False)
    with pytest.raises(StoreError, match="no publisher takes over"):
        fleet.hand(0, statistics_message("d1", 1, 1, tables(3, 1)))
    with fleet.store.transaction():
        assert fleet.store.statistics("d1", 1) is None
    fleet.close()


def test_a_worker_that_stands_still_within_a_transaction_holds_up_nobody_for_long(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = WorkedFleet(url, SUMS)
    (store, worker), _ = fleet.workers
    monkeypatch.setattr(
        "aggregator.store.engine.NOT_STILL", "set_config('idle_in_transaction_session_timeout', '500ms', true)"
    )

    def stopped() -> None:
        with store.transaction():
            worker.receive([statistics_message("d1", 1, 1, tables(3, 1))], fleet.instant)
            monkeypatch.undo()
            fleet.hand(1, statistics_message("d1", 1, 1, tables(3, 1)))
            assert state(fleet)[0][0].same_sums(tables(3, 1))  # type: ignore[index]

    with pytest.raises(StoreError, match="the database refused"):
        stopped()
    fleet.hand(0, statistics_message("d2", 1, 1, tables(4, 2)))
    assert state(fleet)[0][0].same_sums(tables(3, 1) + tables(4, 2))  # type: ignore[index]
    fleet.close()


def test_a_worker_that_runs_while_the_schema_is_changed_stops_in_one_line(url: str) -> None:
    fleet = WorkedFleet(url, SUMS, workers=1)
    with fleet.store.transaction():
        fleet.store.put_number("schema", SCHEMA + 1)
    try:
        with pytest.raises(
            StoreError, match=f"schema {SCHEMA + 1} by now, this worker writes {SCHEMA}; start it again"
        ):
            fleet.hand(0, statistics_message("d1", 1, 1, tables(3, 1)))
        with fleet.store.transaction():
            assert fleet.store.statistics("d1", 1) is None
    finally:
        with fleet.store.transaction():
            fleet.store.put_number("schema", SCHEMA)
    fleet.close()


def test_workers_need_postgresql(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="PostgreSQL"):
        WorkerStore(f"sqlite:///{tmp_path}/store.sqlite")
    assert not Settings.__dataclass_fields__["workers"].default.enabled


def test_nothing_is_lost_of_a_batch_whose_process_is_killed(url: str) -> None:
    """Rolled back as a whole: report, change row and partial sum, and taken when it comes again."""
    fleet = WorkedFleet(url, SUMS)
    store, worker = fleet.workers[0]
    message = statistics_message("d1", 1, 1, tables(3, 1))

    class Killed(BaseException):
        pass

    def killed() -> None:
        with store.transaction():
            worker.receive([message], fleet.instant)
            raise Killed

    with pytest.raises(Killed):
        killed()
    assert state(fleet)[0] == [Statistics.zeros(SIZE, CLASSES, space) for space in (SPACE, OTHER)]
    fleet.hand(1, message)
    assert state(fleet)[0][0].same_sums(tables(3, 1))  # type: ignore[index]
    fleet.close()
