"""Heads of other feature spaces make no update stale, however soon the store forgets them."""

from __future__ import annotations

import pytest

from aggregator.heads import VERSION_FLOOR
from aggregator.heads.averaging import freshness
from aggregator.heads.other_heads import OtherHeads
from aggregator.policy import AveragingPolicy, Method
from aggregator.store import MemoryStore, StoredHead
from aggregator.store.rows import SPACES, SpaceRow

KEPT_MAX = 3


def store_with(*spaces: str, floor: int = 0) -> MemoryStore:
    """Heads 1, 2, ... of these spaces, in turn after the floor."""
    store = MemoryStore()
    with store.transaction():
        store.put_number(VERSION_FLOOR, floor)
        for space in {"ours": None, **dict.fromkeys(spaces)}:
            store.rows(SPACES).put(SpaceRow(space, "watch"))
        for version, space in enumerate(spaces, floor + 1):
            store.put_head(StoredHead(version, Method.AVERAGE, space, b"%d" % version, 0.0), KEPT_MAX)
    return store


@pytest.mark.parametrize(
    ("spaces", "base", "others"),
    [
        (["ours", "ours", "ours", "ours"], 1, 0),
        (["ours", "busy", "ours"], 1, 1),
        # of seventeen the store still has three
        (["ours", *["busy"] * 17], 1, 17),
        (["ours", *["busy"] * 17, "ours", "ours"], 1, 17),
        (["busy"] * 9, 0, 9),
        ([*["busy"] * 9, "ours"], 0, 9),
        # further back than the heads of this space that are kept: another's are those that are kept, and no more
        (["ours", "busy", "busy", "busy", "busy", "ours", "ours", "ours"], 1, 3),
        (["ours", "ours", "ours", "busy", "busy", "busy", "busy", "ours"], 3, 4),
    ],
)
def test_versions_of_other_spaces_are_not_counted(spaces: list[str], base: int, others: int) -> None:
    found = OtherHeads.stored(store_with(*spaces), "ours", KEPT_MAX)
    assert found.between(base, len(spaces) + 1) == others


def test_of_heads_before_a_lost_store_nothing_is_known_and_all_count() -> None:
    found = OtherHeads.stored(store_with("busy", "busy", "busy", "busy", floor=20), "ours", KEPT_MAX)
    assert found.between(15, 25) == 4
    # versions 16 to 20 may have been of this space
    assert freshness(15, 25, AveragingPolicy(), found) == pytest.approx(6**-0.5)


def test_a_fleet_of_one_space_counts_every_version() -> None:
    store = MemoryStore()
    with store.transaction():
        store.rows(SPACES).put(SpaceRow("ours", "watch"))
    assert freshness(3, 7, AveragingPolicy(), OtherHeads.stored(store, "ours", KEPT_MAX)) == 0.5
