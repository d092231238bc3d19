"""The difference of two sums that devices were told never says much of one device: not to several who conspire, nor
over restarts, removals, a lost store, or a fleet that stops growing."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from aggregator.policy import Limits, Policy, Weighing
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows import QUARANTINED
from headway.maths.head import Head
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics
from headway.ports import Received
from headway.wire.topics import ALL, Kind, topic
from tests.aggregator.fleets import CLASSES, FLEET, SIZE, SPACE, Fleet, heads, statistics_message, tables
from tests.aggregator.test_priors import request, told

# everybody weighs what it has, so that plain sums can be compared
EVENLY = Weighing(devices_min=0)
POLICY = Policy(publish_interval_s=0.0, prior_labels_min=30, prior_device_labels_min=8, weighing=EVENLY)
NAMES = ("a", "b", "c", "d", "e")


class Growing:
    """A fleet whose devices learn windows one by one; it keeps beside it what each holds."""

    def __init__(self, store: Store | None = None, policy: Policy = POLICY, names: tuple[str, ...] = NAMES) -> None:
        self.fleet = Fleet(policy, MemoryStore() if store is None else store)
        self.held = {name: Statistics.zeros(SIZE, CLASSES, SPACE) for name in names}
        self.before = dict(self.held)
        self.counters = dict.fromkeys(names, 0)
        self.seed = 0

    def learn(self, name: str, count: int, classes: tuple[str, ...] = CLASSES) -> None:
        self.seed += 1
        self.before[name] = self.held[name]
        self.held[name] = self.held[name] + tables(count, self.seed, classes)
        self.report(name)

    def earlier(self, name: str) -> Statistics:
        """What a device held before it last learned."""
        return self.before[name]

    def report(self, name: str, retain: bool = False) -> None:
        self.counters[name] += not retain
        message = statistics_message(name, 1, self.counters[name], self.held[name])
        self.fleet.send(Received(message.topic, message.payload, retain))

    def ask(self, name: str = "spy", samples: int = 0) -> Statistics | None:
        answers = told(self.fleet.send(request(name, samples)), name)
        return answers[0].statistics if answers else None

    def remove(self, name: str) -> None:
        with self.fleet.store.transaction():
            self.fleet.store.request_removal(name, 0.0)
        self.fleet.pass_time(10.0)


def started(store: Store | None = None, count: int = 20) -> Growing:
    subject = Growing(store)
    for name in NAMES:
        subject.learn(name, count)
    assert subject.ask() == total(subject)
    return subject


def total(subject: Growing, *without: str) -> Statistics:
    parts = [held for name, held in subject.held.items() if name not in without]
    return sum(parts[1:], parts[0])


@pytest.mark.parametrize("restarted", [False, True])
def test_one_window_more_changes_no_answer(store: Store, restarted: bool) -> None:
    subject = started(store)
    before = subject.ask()
    for _ in range(7):
        subject.learn("d", 1)
        if restarted:
            subject.fleet.restart()
        for asking in ("spy", "second-spy"):
            assert subject.ask(asking) == before


def test_many_windows_of_too_few_devices_change_no_answer() -> None:
    subject = started()
    before = subject.ask()
    subject.learn("d", 500)
    subject.learn("e", 500)
    assert subject.ask() == before
    subject.learn("a", 7)
    assert subject.ask() == before, "the third device has fewer than its least"
    subject.learn("a", 1)
    assert subject.ask() == total(subject)


def test_many_devices_with_too_few_windows_change_no_answer() -> None:
    subject = started()
    before = subject.ask()
    for name in ("a", "b", "c"):
        subject.learn(name, 9)
    assert subject.ask() == before
    subject.learn("c", 3)
    assert subject.ask() == total(subject)


def test_a_device_with_few_new_windows_stays_as_it_was_in_the_next_answer(store: Store) -> None:
    """Else the others could conspire, take off what they know, and be left with its one window."""
    subject = started(store)
    victim = subject.held["e"]
    for name in ("a", "b", "c", "d"):
        subject.learn(name, 20)
    subject.learn("e", 1)
    answer = subject.ask()
    assert answer == total(subject, "e") + victim
    subject.fleet.restart()
    assert subject.ask() == answer
    subject.learn("e", 7)
    subject.learn("a", 20)
    subject.learn("b", 20)
    assert subject.ask() == total(subject)


def test_the_own_part_is_taken_off_as_it_is_in_the_answer(store: Store) -> None:
    """An asking device that has learned on knows its newer part, too: the answer must not be off by the difference."""
    subject = started(store)
    others = total(subject, "a")
    subject.learn("a", 5)
    assert subject.ask("a") == others
    subject.fleet.restart()
    assert subject.ask("a") == others
    subject.learn("b", 1)
    assert subject.ask("a") == others


@pytest.mark.parametrize("seed", range(8))
def test_any_two_answers_differ_by_enough_of_enough_devices(seed: int) -> None:
    """Whatever is learned, asked, removed or restarted in between."""
    random = np.random.default_rng(seed)
    subject = started(count=int(random.integers(8, 30)))
    removed: set[str] = set()
    parts = dict(subject.held)
    answers = [dict(parts)]
    last = subject.ask()
    for _ in range(120):
        action = random.random()
        name = str(random.choice([name for name in NAMES if name not in removed]))
        if action < 0.85:
            subject.learn(name, int(random.choice((1, 1, 2, 9))))
        elif action < 0.97:
            subject.fleet.restart()
        elif len(removed) < 2:
            subject.remove(name)
            removed.add(name)
            del subject.held[name]
            assert subject.ask() is None
        answer = subject.ask()
        if answer is None or answer == last:
            continue
        changed = {n for n in subject.held if n in parts and subject.held[n].samples >= parts[n].samples + 8}
        expected = total(Holding({n: subject.held[n] if n in changed else parts[n] for n in subject.held}))
        assert answer == expected
        assert len(changed) >= 3
        assert sum(subject.held[n].samples - parts[n].samples for n in changed) >= 30
        parts = {n: subject.held[n] if n in changed else parts[n] for n in subject.held}
        answers.append(dict(parts))
        last = answer
    assert len(answers) > 1


class Holding:
    def __init__(self, held: dict[str, Statistics]) -> None:
        self.held = held


def test_labels_that_are_taken_back_do_not_come_out_either() -> None:
    subject = started()
    before = subject.ask()
    grown = subject.held["a"]
    subject.learn("a", 9)
    subject.held["a"] = grown + tables(1, 77)  # eight of the nine taken back: one window is new
    subject.report("a")
    for name in ("b", "c", "d"):
        subject.learn(name, 20)
    answer = subject.ask()
    assert before is not None
    assert answer == total(subject, "a") + grown


def test_a_removed_device_is_in_no_answer_and_its_part_does_not_come_out(store: Store) -> None:
    subject = started(store)
    before = subject.ask()
    subject.remove("e")
    del subject.held["e"]
    assert subject.ask() is None, "the difference to the last answer is all that e had"
    assert subject.ask("a") is None
    subject.fleet.restart()
    subject.learn("a", 100)
    subject.learn("b", 1)
    assert subject.ask() is None
    subject.learn("b", 7)
    subject.learn("c", 8)
    after = subject.ask()
    assert after == total(subject)
    assert before is not None
    assert after is not None
    assert after.samples - before.samples == 100 + 8 + 8 - 20


def test_a_device_that_comes_back_after_its_removal_counts_anew() -> None:
    subject = started()
    subject.remove("e")
    subject.held["e"] = tables(9, 55)
    message = statistics_message("e", 2, 1, subject.held["e"])
    subject.fleet.send(message)
    for name in ("a", "b"):
        subject.learn(name, 15)
    assert subject.ask() == total(subject)


def test_a_fleet_that_stops_growing_goes_on_to_answer() -> None:
    subject = started()
    for hours in range(3):
        subject.fleet.pass_time(3600.0 * hours)
        subject.fleet.restart()
        assert subject.ask(f"new-{hours}") == total(subject)


def test_a_renamed_class_is_told_under_its_new_name_only_with_enough_that_is_new() -> None:
    added = (*CLASSES, "swim")
    subject = Growing()
    for name in NAMES:
        subject.learn(name, 20, added)
    before = subject.ask()
    assert before is not None
    assert before.classes == added
    for name in NAMES[:2]:
        subject.held[name] = subject.held[name].renamed([("swim", "float")])
        subject.report(name)
    assert subject.ask() == before
    for name in NAMES:
        subject.held[name] = subject.held[name].renamed([("swim", "float")])
        subject.learn(name, 10, (*CLASSES, "float"))
    answer = subject.ask()
    assert answer is not None
    assert answer.classes == (*CLASSES, "float")
    assert answer.samples == 150


def swum(count: int) -> Statistics:
    """Windows of a class that the bundle does not know."""
    return Statistics.of(np.full((count, SIZE), 5, np.int8), np.full(count, 3), (*CLASSES, "swim"), SPACE)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_part_with_a_class_that_is_not_published_is_told_once_it_is(restarted: bool) -> None:
    limits = Limits(class_samples_min=4)
    subject = Growing(policy=Policy(publish_interval_s=0.0, prior_labels_min=30, limits=limits))
    for name in NAMES:
        subject.learn(name, 20)
    subject.held["a"] = subject.held["a"] + swum(3)
    subject.report("a")
    assert subject.ask() == total(subject, "a")
    for name in "abc":
        subject.held[name] = subject.held[name] + swum(8 + (name == "a"))
        subject.report(name)
    if restarted:
        subject.fleet.restart()
    answer = subject.ask()
    assert answer is not None
    assert answer == total(subject)
    assert answer.classes == (*CLASSES, "swim")


def test_after_the_loss_of_the_store_nothing_is_told_before_enough_is_new() -> None:
    """The devices' retained reports come back, and one holds a window more than the last answer did."""
    subject = started()
    subject.fleet.pass_time(1.0)
    lost = heads(subject.fleet.effects)[-1]
    subject.learn("d", 1)
    subject.fleet = Fleet(POLICY)
    with subject.fleet.store.transaction():
        subject.fleet.core.await_retained_head()
        subject.fleet.core.connected(subject.fleet.instant)
    for name in NAMES[:3]:
        subject.report(name, retain=True)
    assert subject.ask() is None
    subject.fleet.send(Received(topic(FLEET, ALL, Kind.HEAD), lost.encode(), retain=True))
    for name in NAMES[3:]:
        subject.report(name, retain=True)
    assert subject.ask() is None
    subject.fleet.restart()
    for name in NAMES:
        subject.learn(name, 1)
    assert subject.ask() is None
    for name in ("a", "d", "e"):
        subject.learn(name, 10)
    answer = subject.ask()
    assert answer == total(subject, "b", "c")


def test_a_store_of_an_older_day_does_not_answer_by_what_it_knows_of_that_day() -> None:
    subject = started()
    assert isinstance(subject.fleet.store, MemoryStore)
    subject.fleet.pass_time(1.0)
    yesterday = copy.deepcopy(subject.fleet.store)
    for name in NAMES:
        subject.learn(name, 10)
    subject.fleet.pass_time(1.0)
    assert subject.ask() == total(subject)
    subject.learn("d", 1)
    newest = heads(subject.fleet.effects)[-1]
    subject.fleet = Fleet(POLICY, yesterday)
    subject.fleet.send(Received(topic(FLEET, ALL, Kind.HEAD), newest.encode(), retain=True))
    for name in NAMES:
        subject.report(name, retain=True)
    assert subject.ask() is None
    subject.fleet.restart()
    for name in NAMES:
        subject.learn(name, 10)
    assert subject.ask() == total(subject)


def test_a_device_that_claims_far_more_than_the_others_weighs_less_in_what_is_told(store: Store) -> None:
    """And its own part, and what another one asks without, are taken off to the bit all the same."""
    subject = Growing(store, Policy(publish_interval_s=0.0, weighing=Weighing(samples_min=20)))
    for name in NAMES:
        subject.learn(name, 2000 if name == "e" else 20)
    answer = subject.ask()
    assert answer is not None
    assert answer.samples < 120
    assert answer.inconsistency() is None
    assert subject.ask("e") == total(subject, "e")
    without_a = subject.ask("a")
    subject.learn("e", 500)
    subject.fleet.restart()
    assert subject.ask() == answer
    assert subject.ask("a") == without_a
    for name in NAMES:
        subject.learn(name, 20)
    assert subject.ask("e") == total(subject, "e")


def test_a_counter_of_zero_is_a_counter_like_any_other() -> None:
    subject = Growing()
    for name in NAMES:
        subject.held[name] = tables(20, len(subject.held) + ord(name))
        subject.fleet.send(statistics_message(name, 1, 0, subject.held[name]))
    assert subject.ask() == total(subject)
    assert subject.ask("a") == total(subject, "a")


def test_priors_that_are_turned_off_and_on_again_begin_anew() -> None:
    store = MemoryStore()
    subject = started(store)
    off = Growing(store, Policy(publish_interval_s=0.0, prior_devices_min=0))
    off.held, off.counters = subject.held, subject.counters
    off.learn("a", 1)
    again = Growing(store)
    again.held, again.counters = off.held, off.counters
    assert again.ask() is None
    for name in NAMES:
        again.learn(name, 10)
    assert again.ask() == total(again)


@pytest.fixture
def no_head_beyond_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for a report with which there is no head."""

    def solve(source: Statistics, devices: Statistics, shrinkage: float) -> Head:
        if devices.samples > 500:
            raise np.linalg.LinAlgError("Singular matrix")
        return fleet_head(source, devices, shrinkage)

    monkeypatch.setattr("aggregator.heads.fleet_model.fleet_head", solve)


@pytest.mark.usefixtures("no_head_beyond_500")
@pytest.mark.parametrize("restarted", [False, True])
def test_a_quarantined_device_is_not_told_and_is_none_of_those_that_are_new(store: Store, restarted: bool) -> None:
    subject = Growing(store, names=("a", "b", "c", "bad"))
    for name in ("a", "b"):
        subject.learn(name, 20)
    subject.learn("bad", 1000)
    subject.fleet.pass_time()
    with store.transaction():
        assert [row.device for row in store.rows(QUARANTINED).all()] == ["bad"]
    if restarted:
        subject.fleet.restart()
    assert subject.ask() is None, "two devices count, and three are the fewest that are told"
    subject.learn("c", 20)
    assert subject.ask() == total(subject, "bad")
    for name in ("a", "b"):
        subject.learn(name, 20)
    assert subject.ask() == total(subject, "bad", "a", "b") + subject.earlier("a") + subject.earlier("b")
    subject.held["bad"] = Statistics.zeros(SIZE, CLASSES, SPACE)
    subject.learn("bad", 20)
    assert subject.ask() == total(subject), "its next report is a good one"


@pytest.mark.usefixtures("no_head_beyond_500")
@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_set_aside_after_it_was_told_is_told_no_longer(store: Store, restarted: bool) -> None:
    subject = Growing(store, names=("a", "b", "c", "bad"))
    for name in ("a", "b"):
        subject.learn(name, 20)
    subject.learn("bad", 1000)
    assert subject.ask() == total(subject), "no head was computed yet"
    subject.fleet.pass_time()
    if restarted:
        subject.fleet.restart()
    assert subject.ask() is None, "the difference to what was told would be one device's"
    for name in ("a", "b", "c"):
        subject.learn(name, 20)
    assert subject.ask() == total(subject, "bad")


@pytest.mark.usefixtures("no_head_beyond_500")
def test_what_was_told_before_stays_told_when_a_later_report_is_set_aside(store: Store) -> None:
    subject = Growing(store, names=("a", "b", "c", "bad"))
    for name in ("a", "b", "bad"):
        subject.learn(name, 20)
    before = subject.ask()
    assert before == total(subject)
    subject.learn("bad", 1000)
    subject.fleet.pass_time()
    assert subject.ask() == before
    for name in ("a", "b"):
        subject.learn(name, 20)
    assert subject.ask() == before, "two devices are new"
    subject.learn("c", 20)
    assert subject.ask() == total(subject, "bad") + subject.earlier("bad")
