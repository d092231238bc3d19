"""Regions: however many servers stand between, the root's sum is that of all devices, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aggregator.effects import Effect, Note, Upward
from aggregator.policy import Method, Policy, Weighing
from aggregator.privacy_policy import PrivacyPolicy
from aggregator.region_settings import RegionSettings
from aggregator.store import MemoryStore
from headway.errors import ConfigError
from headway.maths import Statistics, merge
from headway.ports import Outgoing, Received
from headway.wire import ALL, Ack, Kind, topic
from tests.aggregator.fleets import CLASSES, FLEET, SIZE, SPACE, Fleet, heads, statistics_message, tables

# a region may weigh what its devices do together
ROOT = Policy(publish_interval_s=0.0, weighing=Weighing(devices_min=0, samples_max=100_000_000))
LEAF = replace(ROOT, region=RegionSettings("europe", FLEET, interval_s=1.0))


class Tree:
    """A root and its regions. What goes up is delivered at once, and so is the answer."""

    def __init__(self, names: tuple[str, ...], policy: Policy = LEAF) -> None:
        self.root = Fleet(ROOT)
        self.regions = {name: Fleet(replace(policy, region=replace(policy.region, name=name))) for name in names}
        for region in self.regions.values():
            self.of_parent(region, connected=True)

    @staticmethod
    def of_parent(region: Fleet, *messages: Received, connected: bool = False) -> list[Effect]:
        with region.store.transaction():
            return region.core.of_parent(connected, messages)

    def pass_time(self) -> list[str]:
        """A second everywhere; what people were told by regions."""
        told: list[str] = []
        for name, region in self.regions.items():
            up = [effect.message for effect in region.pass_time(2.0) if isinstance(effect, Upward)]
            answers = self.root.send(*(Received(message.topic, message.payload) for message in up))
            acks = [
                Received(effect.topic, effect.payload)
                for effect in answers
                if isinstance(effect, Outgoing) and effect.topic == topic(FLEET, name, Kind.ACK)
            ]
            told += [note.text for note in self.of_parent(region, *acks) if isinstance(note, Note)]
        self.root.pass_time(2.0)
        return told


def test_a_random_history_over_two_regions_is_one_sum_at_the_root() -> None:
    tree, flat = Tree(("europe", "asia")), Fleet(ROOT)
    random = np.random.default_rng(4)
    for step in range(30):
        number = int(random.integers(0, 8))
        device, region = f"d{number}", tree.regions["europe" if number % 2 else "asia"]
        if random.random() < 0.2:
            for fleet in (region, flat):
                with fleet.store.transaction():
                    fleet.store.request_removal(device, 1.0)
                fleet.pass_time(2.0)
        else:
            epoch = 1 + step  # after a removal it needs another one
            names = (*CLASSES, "own") if random.random() < 0.3 else CLASSES
            message = statistics_message(device, epoch, 1, tables(int(random.integers(1, 9)), step, names))
            for fleet in (region, flat):
                fleet.send(message)
        if random.random() < 0.5:
            tree.pass_time()
    tree.pass_time()
    assert tree.root.core.statistics.same_sums(flat.core.statistics)
    assert tree.root.core.statistics.samples > 0
    assert {row.device for row in tree.root.store.contributions(SPACE)} == {"asia", "europe"}


def test_a_region_of_regions_is_one_message_more() -> None:
    middle = replace(LEAF, region=RegionSettings("world", FLEET, interval_s=1.0))
    tree = Tree(("europe",), middle)
    region = tree.regions["europe"]
    # what is a device to the region may be a region itself
    parts = [tables(5, seed) for seed in range(3)]
    region.send(*(statistics_message(name, 1, 1, part) for name, part in zip(("a", "b", "c"), parts, strict=True)))
    tree.pass_time()
    assert tree.root.core.statistics.same_sums(merge(parts))


def test_a_removed_device_is_gone_at_the_root_with_the_next_report() -> None:
    tree = Tree(("europe",))
    region = tree.regions["europe"]
    region.send(statistics_message("d1", 1, 1, tables(5, 1)), statistics_message("d2", 1, 1, tables(6, 2)))
    tree.pass_time()
    with region.store.transaction():
        region.store.request_removal("d1", 1.0)
    tree.pass_time()
    tree.pass_time()
    assert tree.root.core.statistics.same_sums(tables(6, 2))


def test_a_sum_that_comes_back_to_where_it_began_is_refused_and_counts_once() -> None:
    """Of servers that are each other's parents, or its own."""
    for names in (("a",), ("a", "b"), ("a", "b", "c")):
        parents = dict(zip(names, names[1:] + names[:1], strict=True))
        fleets = {name: Fleet(replace(LEAF, region=RegionSettings(name, FLEET, interval_s=1.0))) for name in names}
        fleets["a"].send(statistics_message("d1", 1, 1, tables(5, 1)))
        said: list[str] = []
        for _ in range(3 * len(names)):
            for name, region in fleets.items():
                up = [effect.message for effect in region.pass_time(2.0) if isinstance(effect, Upward)]
                answers = fleets[parents[name]].send(*(Received(message.topic, message.payload) for message in up))
                acks = [Received(each.topic, each.payload) for each in answers if isinstance(each, Outgoing)]
                said += [note.text for note in Tree.of_parent(region, *acks) if isinstance(note, Note)]
        assert {region.core.statistics.samples for region in fleets.values()} == {5}, names
        assert any("loop" in line for line in said), names
        assert fleets["a"].refusals.keys() == {(names[-1], "loop")}


def test_a_region_that_was_below_may_be_the_parent_once_it_is_removed() -> None:
    tree = Tree(("europe",))
    region, below = tree.regions["europe"], Fleet(replace(LEAF, region=RegionSettings("alps", FLEET, interval_s=1.0)))
    below.send(statistics_message("d1", 1, 1, tables(5, 1)))

    def report(child: Fleet, parent: Fleet) -> None:
        up = [effect.message for effect in child.pass_time(2.0) if isinstance(effect, Upward)]
        parent.send(*(Received(message.topic, message.payload) for message in up))

    report(below, region)
    tree.pass_time()
    assert tree.root.core.statistics.same_sums(tables(5, 1))
    region.send(statistics_message("d2", 1, 1, tables(7, 2)))
    report(region, below)
    assert below.refusals == {("europe", "loop"): 1}
    with region.store.transaction():
        region.store.request_removal("alps", 1.0)
    region.pass_time(2.0)
    report(region, below)
    assert below.core.statistics.same_sums(tables(5, 1) + tables(7, 2))
    assert below.refusals == {("europe", "loop"): 1}


def test_a_server_that_becomes_a_region_of_one_below_it_tells_what_was_stored_before() -> None:
    below, above = Fleet(replace(LEAF, region=RegionSettings("alps", FLEET, interval_s=1.0))), Fleet(ROOT)

    def report(child: Fleet, parent: Fleet) -> None:
        up = [effect.message for effect in child.pass_time(2.0) if isinstance(effect, Upward)]
        parent.send(*(Received(message.topic, message.payload) for message in up))

    below.send(statistics_message("d1", 1, 1, tables(5, 1)))
    report(below, above)
    above.policy = LEAF
    above.restart()
    report(above, below)
    assert below.refusals == {("europe", "loop"): 1}
    assert below.core.statistics.same_sums(tables(5, 1))


def test_who_gives_a_region_another_name_is_told_what_counts_twice() -> None:
    region = Fleet(LEAF)
    region.send(statistics_message("d1", 1, 1, tables(5, 1)))
    texts = []
    for name in ("europe", "europe", "eu", "eu"):
        region.policy = replace(LEAF, region=replace(LEAF.region, name=name))
        region.restart()
        notes = [effect.text for effect in region.pass_time(2.0) if isinstance(effect, Note)]
        texts.append([text for text in notes if "another name" in text])
    assert [len(told) for told in texts] == [0, 0, 1, 0]
    assert "edge-fleet remove NAME at that parent" in texts[2][0]


def test_what_did_not_change_is_not_sent_again_but_what_has_no_answer_is() -> None:
    region = Fleet(LEAF)
    region.send(statistics_message("d1", 1, 1, tables(5, 1)))
    first = [effect.message for effect in region.pass_time(2.0) if isinstance(effect, Upward)]
    again = [effect.message for effect in region.pass_time(2.0) if isinstance(effect, Upward)]
    assert first == again != []
    ack = Ack(_epoch(region), 1, 0, 0.0).encode()
    Tree.of_parent(region, Received(topic(FLEET, "europe", Kind.ACK), ack))
    assert not [effect for effect in region.pass_time(2.0) if isinstance(effect, Upward)]


def _epoch(region: Fleet) -> int:
    with region.store.transaction():
        return region.store.number("region_epoch")


def test_a_region_whose_store_is_of_an_older_day_goes_on_from_what_the_parent_holds() -> None:
    tree = Tree(("europe",))
    region = tree.regions["europe"]
    region.send(statistics_message("d1", 1, 1, tables(5, 1)))
    tree.pass_time()
    for counter in (2, 3):
        region.send(statistics_message("d1", 1, counter, tables(5 + counter, 1)))
        tree.pass_time()
    epoch = _epoch(region)
    region.store = MemoryStore()
    with region.store.transaction():
        region.store.put_number("region_epoch", epoch)
    region.restart()
    region.send(statistics_message("d1", 1, 1, tables(5, 1)))
    told = [line for _ in range(3) for line in tree.pass_time()]
    assert any("going on from there" in line for line in told)
    assert tree.root.core.statistics.same_sums(tables(5, 1))


def test_a_region_that_the_parent_removed_comes_back_under_a_new_epoch() -> None:
    tree = Tree(("europe",))
    region = tree.regions["europe"]
    region.send(statistics_message("d1", 1, 1, tables(5, 1)))
    tree.pass_time()
    with tree.root.store.transaction():
        tree.root.store.request_removal("europe", 1.0)
    tree.pass_time()
    assert tree.root.core.statistics.samples == 0
    region.send(statistics_message("d1", 1, 2, tables(7, 1)))
    told = [line for _ in range(3) for line in tree.pass_time()]
    assert any("removed this region" in line for line in told)
    assert tree.root.core.statistics.same_sums(tables(7, 1))


def test_devices_of_a_region_get_the_parents_head_and_none_of_the_region_alone() -> None:
    tree = Tree(("europe", "asia"))
    for number, region in enumerate(tree.regions.values()):
        region.send(statistics_message("d1", 1, 1, tables(20, number)))
    tree.pass_time()
    europe = tree.regions["europe"]
    assert heads(europe.effects) == []
    (above,) = heads(tree.root.effects)[-1:]
    message = Received(topic(FLEET, ALL, Kind.HEAD), above.encode(), retain=True)
    Tree.of_parent(europe, message)
    europe.pass_time(2.0)
    (below,) = heads(europe.effects)
    assert below.head.same_as(above.head)
    assert (below.version, below.devices, below.samples) == (1, above.devices, 40)
    # retained, it comes with each connection
    Tree.of_parent(europe, message, connected=True)
    europe.pass_time(2.0)
    assert len(heads(europe.effects)) == 1


def test_what_a_parent_sends_cannot_end_a_region() -> None:
    region = Fleet(LEAF)
    for kind, device in ((Kind.ACK, "europe"), (Kind.HEAD, ALL)):
        (note,) = Tree.of_parent(region, Received(topic(FLEET, device, kind), b"nonsense"))
        assert isinstance(note, Note)
        assert note.warning
    assert region.core.statistics == Statistics.zeros(SIZE, CLASSES, SPACE)


def test_a_region_without_a_sum_is_refused() -> None:
    with pytest.raises(ConfigError, match="exact"):
        Policy(method=Method.AVERAGE, region=RegionSettings("europe", "world"))
    with pytest.raises(ConfigError, match="both name and fleet"):
        RegionSettings("europe")


def test_a_region_does_not_report_exactly_what_noise_is_to_keep() -> None:
    with pytest.raises(ConfigError, match=r"^\[region\] name = 'north' reports the exact sum .* on the parent alone$"):
        Policy(region=RegionSettings("north", "world"), privacy=PrivacyPolicy(epsilon=1.0))
