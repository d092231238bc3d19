"""Several feature spaces side by side: each counts, publishes and forgets by itself, and nothing is refused."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.bundle_sender import BEFORE
from aggregator.commands.known_bundles import KnownBundles
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.told_cautions import Cautions
from aggregator.policy import Limits, Policy
from aggregator.store import DeliveryRow
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows import SPACES, SUMS
from aggregator.store.sql import SqlStore
from headway.maths.statistics import Statistics, merge
from headway.ports import Outgoing, Received
from headway.wire.fleet_prior import FleetPrior, PriorRequest
from headway.wire.messages import PublishedHead, Reported
from headway.wire.topics import Kind, device_subscriptions, parse_topic, space_name, topic
from tests.aggregator.fleets import (
    CLASSES,
    FLEET,
    SPACE,
    Fleet,
    Shelf,
    acks,
    heads,
    model,
    refusals_told,
    statistics_message,
    tables,
)

NEW = "a" * 64
NEW_CLASSES = (*CLASSES, "fall")
DAY_S = 86_400.0


def new_tables(count: int, seed: int) -> Statistics:
    return tables(count, seed, NEW_CLASSES, NEW)


def new_model() -> FleetModel:
    return model(NEW_CLASSES, NEW)


SHELF = Shelf({SPACE: model(), NEW: new_model()})


def fleet(**changes: object) -> Fleet:
    return Fleet(bundles=SHELF, **changes)  # type: ignore[arg-type]


def new_sum(subject: Fleet) -> Statistics:
    with subject.store.transaction():
        return subject.core.statistics_in(NEW)


MESSAGES = [
    statistics_message("a", 1, 5, tables(5, 1)),
    statistics_message("a", 2, 7, new_tables(7, 2)),
    statistics_message("b", 1, 4, new_tables(4, 3)),
    statistics_message("c", 1, 6, tables(6, 4)),
]


def test_a_canary_of_another_space_counts_at_once_and_the_others_go_on() -> None:
    subject = fleet()
    told = acks(subject.send(*MESSAGES))

    counters = {device: [ack.counter for ack in every] for device, every in told.items()}
    assert counters == {"a": [5, 7], "b": [4], "c": [6]}
    assert not subject.refusals
    assert subject.core.statistics.same_sums(merge([tables(5, 1), tables(6, 4)]))
    assert new_sum(subject).same_sums(merge([new_tables(7, 2), new_tables(4, 3)]))


def test_each_space_has_a_head_on_its_own_topic() -> None:
    subject = fleet()
    subject.send(*MESSAGES)
    made = subject.pass_time(1.0)

    (main,), (new,) = heads(made), heads(made, space_name(NEW))
    assert (main.space, main.devices, new.space, new.devices) == (SPACE, 2, NEW, 2)
    expected = new_model().solve(new_model().training_statistics, new_sum(subject), subject.policy.shrinkage)
    assert (new.head.kernel.tobytes(), new.head.bias.tobytes()) == (expected.kernel.tobytes(), expected.bias.tobytes())
    assert main.version != new.version
    assert topic(FLEET, space_name(NEW), Kind.HEAD) in device_subscriptions(FLEET, "a", NEW)
    assert topic(FLEET, space_name(NEW), Kind.HEAD) not in device_subscriptions(FLEET, "a", SPACE)


def test_any_order_and_a_restart_anywhere_give_the_same_bits() -> None:
    results = set()
    for order in itertools.permutations(MESSAGES):
        subject = fleet()
        for message in order:
            subject.send(message)
            subject.restart()
        results.add((subject.core.statistics.gram.tobytes(), new_sum(subject).gram.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("seed", range(4))
def test_each_space_is_to_the_bit_a_fleet_of_its_own(seed: int) -> None:
    """Devices move between two bundles and back, the service is killed in between, and devices are removed."""
    chance = random.Random(seed)
    weighing = replace(Policy().weighing, devices_min=2, samples_min=4)
    policy = Policy(publish_interval_s=0.0, weighing=weighing, prior_devices_min=1, prior_labels_min=1)
    both = Fleet(policy=policy, store=SqlStore("sqlite://"), bundles=SHELF)
    alone = {SPACE: Fleet(policy=policy), NEW: Fleet(policy=policy, build_model=new_model)}
    counters: dict[tuple[str, str], int] = {}
    for step in range(60):
        device, space = f"d{chance.randrange(5)}", chance.choice((SPACE, NEW))
        if chance.random() < 0.05:
            for one in (both, *alone.values()):
                with one.store.transaction():
                    one.store.request_removal(device, 0.0)
                one.pass_time(2.0)
            counters |= {key: count + 1000 for key, count in counters.items() if key[0] == device}
            continue
        counter = counters[device, space] = counters.get((device, space), 0) + chance.randrange(1, 6)
        epoch = 1 + 2 * (counter // 1000) + (space == NEW)
        seed_of = sum(map(ord, device)) + 100 * epoch
        count = counter % 1000
        made = tables(count, seed_of) if space == SPACE else new_tables(count, seed_of)
        message = statistics_message(device, epoch, counter, made)
        for one in (both, alone[space]):
            one.send(message)
            if chance.random() < 0.3:
                one.restart()
            if chance.random() < 0.5:
                one.pass_time(1.0)
        if step == 30:
            # the fleet moves over: another space is the default one
            both.build_model = new_model
            both.restart()
    for one in (both, *alone.values()):
        one.restart()
    made_together = both.pass_time(2.0)
    for space, readers in ((SPACE, space_name(SPACE)), (NEW, "_all")):
        together, lonely = heads(made_together, readers)[-1], heads(alone[space].pass_time(2.0))[-1]
        assert together.head.kernel.tobytes() == lonely.head.kernel.tobytes()
        assert together.head.bias.tobytes() == lonely.head.bias.tobytes()
        assert (together.samples, together.devices) == (lonely.samples, lonely.devices)


def test_a_removed_device_is_gone_from_every_space_to_the_bit() -> None:
    subject, without = fleet(), fleet()
    subject.send(*MESSAGES)
    without.send(*MESSAGES[2:])
    with subject.store.transaction():
        subject.store.request_removal("a", 0.0)
    notes = subject.pass_time(1.0)

    assert subject.core.statistics.gram.tobytes() == without.core.statistics.gram.tobytes()
    assert new_sum(subject).gram.tobytes() == new_sum(without).gram.tobytes()
    assert any("12 samples subtracted" in str(note) for note in notes)
    subject.restart()
    assert new_sum(subject).same_sums(new_tables(4, 3))


def test_one_epoch_does_not_count_in_two_spaces() -> None:
    subject = fleet()
    subject.send(MESSAGES[0], statistics_message("a", 1, 9, new_tables(9, 5)))

    assert subject.refusals == {("a", "space"): 1}
    assert (subject.core.statistics.samples, new_sum(subject).samples) == (5, 0)


def test_the_fleet_moves_over_and_back_without_losing_a_sample() -> None:
    subject = fleet()
    subject.send(*MESSAGES)
    before = (subject.core.statistics.gram.tobytes(), new_sum(subject).gram.tobytes())
    versions = [head.version for head in heads(subject.pass_time(1.0))]
    for main, other in ((new_model, SPACE), (model, NEW)):
        subject.build_model = main
        subject.restart()
        with subject.store.transaction():
            sums = [subject.core.statistics_in(space).gram.tobytes() for space in (SPACE, NEW)]
            again = subject.core.connected(subject.instant)
        assert sums == [*before]
        # one topic for each head: where the default space had its own before, the broker forgets it
        cleared = [effect.topic for effect in again if isinstance(effect, Outgoing) and not effect.payload]
        assert topic(FLEET, space_name(main().space), Kind.HEAD) in cleared
        made = subject.pass_time(1.0)
        versions += [head.version for head in heads(made)]
        assert [head.space for head in heads(made, space_name(other))] == [other]
    assert versions == sorted(set(versions))


def test_a_bundle_that_comes_while_the_service_runs_is_served() -> None:
    shelf = Shelf({SPACE: model()})
    subject = Fleet(bundles=shelf)
    subject.send(MESSAGES[1])
    assert subject.refusals == {("a", "space"): 1}
    shelf.models[NEW] = new_model()
    subject.send(MESSAGES[1])
    assert new_sum(subject).samples == 7
    assert any("is served beside the others" in str(note) for note in subject.pass_time(1.0))


def test_heads_of_a_busy_space_do_not_push_out_those_of_a_quiet_one() -> None:
    subject = fleet()
    subject.send(MESSAGES[1])
    (first,) = heads(subject.pass_time(1.0), space_name(NEW))
    for counter in range(1, subject.policy.limits.heads_kept_max + 3):
        subject.send(statistics_message("c", 1, counter, tables(counter, counter)))
        subject.pass_time(1.0)
    with subject.store.transaction():
        again = subject.core.connected(subject.instant)
    assert [head.version for head in heads(again, space_name(NEW))] == [first.version]


def test_a_lost_store_goes_on_from_the_head_that_any_space_retains() -> None:
    retained = PublishedHead(41, "exact", NEW, 2, 11, new_model().start)
    subject = fleet()
    with subject.store.transaction():
        subject.core.await_retained_head()
        subject.core.connected(subject.instant)
    subject.send(Received(topic(FLEET, space_name(NEW), Kind.HEAD), retained.encode(), retain=True), *MESSAGES)
    made = subject.pass_time(60.0)
    assert min(head.version for head in heads(made) + heads(made, space_name(NEW))) == 42
    with subject.store.transaction():
        # what was told before the store was lost is not known, in no space
        assert Cautions(subject.store, SPACE).wary
        assert Cautions(subject.store, NEW).wary


def test_one_space_more_than_may_be_served_is_refused_and_the_others_go_on() -> None:
    third = "b" * 64
    shelf = Shelf({**SHELF.models, third: model(CLASSES, third)})
    subject = Fleet(policy=Policy(publish_interval_s=0.0, limits=Limits(spaces_max=2)), bundles=shelf)
    told = refusals_told(subject.send(*MESSAGES, statistics_message("d", 1, 3, tables(3, 9, CLASSES, third))))

    assert subject.refusals == {("d", "space"): 1}
    assert "raise limits.spaces_max" in told["d"][0].problem
    assert (subject.core.statistics.samples, new_sum(subject).samples) == (11, 11)


def test_a_space_that_nobody_needs_is_archived_and_comes_back_with_its_devices() -> None:
    subject = fleet(policy=Policy(publish_interval_s=0.0, limits=Limits(space_unused_days=2.0)))
    subject.send(*MESSAGES)
    with subject.store.transaction():
        subject.store.put_delivery(DeliveryRow(BEFORE, "1" * 64, 3, "model", "1", 1, NEW, 0.0, done=True))
    subject.pass_time(1.0)
    subject.pass_time(DAY_S)
    notes = subject.pass_time(2 * DAY_S)
    assert any(f"feature space {NEW[:12]}" in str(note) and "is archived" in str(note) for note in notes)
    with subject.store.transaction():
        rows = {row.space: row for row in subject.store.rows(SPACES).all()}
        assert rows[NEW].archived_s
        assert not rows[SPACE].archived_s
        assert not subject.store.rows(SUMS).count(NEW)
        subject.store.request_removal("a", 0.0)
    subject.pass_time(1.0)
    subject.restart()
    subject.send(statistics_message("b", 1, 9, new_tables(9, 6)))
    assert new_sum(subject).gram.tobytes() == new_tables(9, 6).gram.tobytes()
    with subject.store.transaction():
        assert not subject.store.rows(SPACES).all(NEW)[0].archived_s
        # somebody may know the sum with the device that was removed meanwhile
        assert Cautions(subject.store, NEW).withheld


def test_a_space_that_a_device_says_it_runs_is_not_archived() -> None:
    subject = fleet(policy=Policy(publish_interval_s=0.0, limits=Limits(space_unused_days=1.0)))
    reported = Reported("model", "2", NEW, "exact", "onnx", "1.0", "x86", 4, "frozen")
    subject.send(*MESSAGES, Received(topic(FLEET, "b", Kind.REPORTED), reported.encode()))
    for _ in range(4):
        subject.pass_time(DAY_S)
    with subject.store.transaction():
        assert not subject.store.rows(SPACES).all(NEW)[0].archived_s


def asked(subject: Fleet, device: str, space: str) -> list[FleetPrior]:
    made = subject.send(Received(topic(FLEET, device, Kind.PRIOR_REQUEST), PriorRequest(space, 0).encode()))
    return [
        FleetPrior.decode(effect.payload, 6)
        for effect in made
        if isinstance(effect, Outgoing) and effect.topic == topic(FLEET, device, Kind.PRIOR)
    ]


@pytest.mark.parametrize("build_store", [MemoryStore, lambda: SqlStore("sqlite://")])
def test_priors_are_of_the_space_that_is_asked_for(build_store: Callable[[], Store]) -> None:
    policy = Policy(publish_interval_s=0.0, prior_devices_min=1, prior_labels_min=1, prior_device_labels_min=1)
    subject = fleet(policy=policy, store=build_store())
    subject.send(*MESSAGES)
    for _ in range(2):
        (old,), (new,) = asked(subject, "x", SPACE), asked(subject, "y", NEW)
        assert old.statistics.same_sums(merge([tables(5, 1), tables(6, 4)]))
        assert new.statistics.same_sums(merge([new_tables(7, 2), new_tables(4, 3)]))
        subject.restart()


def test_a_damaged_bundle_is_named_and_the_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = tmp_path / ("f" * 64 + ".hwb")
    damaged.write_bytes(b"nothing")
    bundles = KnownBundles(tmp_path)
    assert bundles.sizes() == bundles.sizes() == {}
    assert len([record for record in caplog.records if str(damaged) in record.getMessage()]) == 1


def test_no_device_speaks_for_a_space() -> None:
    subject = fleet()
    name = topic(FLEET, space_name(NEW), Kind.STATISTICS)
    subject.send(Received(name, MESSAGES[1].payload))
    assert parse_topic(name).device == space_name(NEW)
    assert subject.refusals == {("", "address"): 1}
    assert not [effect for effect in subject.effects if isinstance(effect, Outgoing)]
