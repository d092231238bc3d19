"""What an operator said of a device stands, though the service has not read it yet."""

from __future__ import annotations

import pytest

from aggregator.heads.asides import count_again, put_aside
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import EVERY_EPOCH, QUARANTINED, SUSPICIOUS, QuarantineRow


@pytest.mark.parametrize("act", [put_aside, count_again])
def test_a_device_set_aside_by_hand_stays_so_whatever_is_found_of_it(act: object) -> None:
    store, row = MemoryStore(), QuarantineRow("d", EVERY_EPOCH, "set aside by hand", 1.0)
    with store.transaction():
        store.rows(QUARANTINED).put(row)
        assert act(store, "d", "evidence", 2.0, 10) is None  # type: ignore[operator]
        assert store.rows(QUARANTINED).all() == [row]
        assert store.events(10) == []


def test_a_device_readmitted_meanwhile_is_not_told_of_again() -> None:
    store = MemoryStore()
    with store.transaction():
        assert put_aside(store, "d", "evidence", 1.0, 10) is not None
        assert store.rows(QUARANTINED).all()[0].problem == f"{SUSPICIOUS}: evidence"
        assert count_again(store, "d", "evidence", 2.0, 10) is not None
        assert count_again(store, "d", "evidence", 3.0, 10) is None
