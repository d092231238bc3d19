"""Partial sums: however reports are split over places and merged, the tables are the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.partial_sum import PartialSum, merged
from headway.errors import LocalError, StoreError
from headway.maths import Statistics
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, tables

EMPTY = PartialSum.create(SIZE, CLASSES, SPACE)
NAMES = ("own-a", "own-b", "own-c")


def history(seed: int, count: int) -> list[tuple[Statistics | None, Statistics]]:
    """What each of some reports took the place of: devices report again, with classes of their own among them."""
    random = np.random.default_rng(seed)
    stored: dict[int, Statistics] = {}
    steps: list[tuple[Statistics | None, Statistics]] = []
    for step in range(count):
        device = int(random.integers(0, 4))
        own = tuple(random.permutation(NAMES)[: random.integers(0, 3)].tolist())
        new = tables(int(random.integers(1, 9)), seed * 1000 + step, (*CLASSES, *own))
        steps.append((stored.get(device), new))
        stored[device] = new
    return steps


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4), st.randoms(use_true_random=False))
def test_reports_split_over_places_in_any_order_make_the_same_bytes(seed, count, places, random):  # type: ignore[no-untyped-def]
    steps = history(seed, count)
    alone = EMPTY
    for old, new in steps:
        alone = alone.add(old, new)
    parts = [EMPTY] * places
    for old, new in random.sample(steps, len(steps)):
        place = random.randrange(places)
        parts[place] = parts[place].add(old, new)
    random.shuffle(parts)
    there = merged([PartialSum.decode(part.encode()) for part in parts])
    assert there is not None
    assert there.encode() == alone.encode()
    assert there.extract() == alone.extract()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_merging_is_associative_and_takes_back_what_was_added(seed: int) -> None:
    one, two, three = (EMPTY.add(None, new) for _, new in history(seed, 3))
    assert one.merge(two).merge(three).encode() == one.merge(two.merge(three)).encode()
    assert one.merge(two).add(two.tables, None).encode() == one.encode()
    assert one.merge(EMPTY).encode() == one.encode()


def test_a_class_whose_count_stays_while_its_codes_change_is_kept() -> None:
    before, after = tables(40, 1, (*CLASSES, "own")), tables(40, 2, (*CLASSES, "own"))
    level = Statistics.of(np.ones((1, SIZE), np.int8), np.array([3]), (*CLASSES, "own"), SPACE)
    for _ in range(int(before.counts[3] - after.counts[3])):
        after = after + level
    for _ in range(int(after.counts[3] - before.counts[3])):
        before = before + level
    change = EMPTY.add(before, after)
    assert change.extract().class_sums[-1, 3] == 0
    assert EMPTY.add(None, before).merge(PartialSum.decode(change.encode())).extract().same_sums(after)


def test_spaces_do_not_mix_and_damage_is_found() -> None:
    with pytest.raises(LocalError, match="feature spaces"):
        EMPTY.add(None, tables(3, 1, space="6" * 64))
    payload = bytearray(EMPTY.add(None, tables(3, 1)).encode())
    payload[-1] ^= 1
    with pytest.raises(StoreError, match="damaged"):
        PartialSum.decode(bytes(payload))
    assert merged([]) is None
