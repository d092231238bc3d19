"""Packed tables: exact, small where features are alike, and strict with bytes that nobody packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import LocalError, RemoteError
from headway.maths.statistics import Statistics, to_arrays
from headway.wire.packing import PLAIN_BYTES_MAX, from_wire, pack_tables, to_wire, unpack_tables
from tests.arrays import assert_same


def alike(count: int, size: int, rank: int, seed: int, classes: int = 4) -> Statistics:
    """Samples of `size` codes that are noisy mixtures of `rank` sources."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 25, (count, rank)) @ random.normal(0, 1, (rank, size)) / np.sqrt(rank)
    codes = np.clip(np.rint(x + random.normal(0, 2, x.shape)), -127, 127).astype(np.int8)
    names = tuple(f"c{i}" for i in range(classes))
    return Statistics.of(codes, random.integers(0, classes, count), names, "s")


def packed_and_back(table: Statistics) -> int:
    packed = pack_tables(table.gram, table.class_sums)
    gram, class_sums = unpack_tables(packed, table.size, len(table.classes))
    assert_same(gram, table.gram)
    assert_same(class_sums, table.class_sums)
    return len(packed)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 24), st.integers(1, 24), st.integers(0, 99), st.integers(1, 6))
def test_packing_loses_nothing(count: int, size: int, rank: int, seed: int, classes: int) -> None:
    packed_and_back(alike(count, size, rank, seed, classes))


@pytest.mark.parametrize("table", [(2, 1), (1, 3), (40, 5), (2, 127)])
def test_extreme_tables_pack(table: tuple[int, int]) -> None:
    rows, size = table
    for value in (-127, 0, 127):
        codes = np.full((rows, size), value, np.int8)
        packed_and_back(Statistics.of(codes, np.zeros(rows, np.int64), ("a", "b"), "s"))
    huge = Statistics.of(np.full((1, size), 127, np.int8), np.zeros(1, np.int64), ("a",), "s")
    packed_and_back(Statistics(huge.gram << 39, huge.class_sums << 39, ("a",), "s"))


def test_small_tables_travel_plain_and_large_ones_packed() -> None:
    small, large = alike(300, 65, 20, 0, classes=10), alike(300, 321, 30, 0, classes=10)
    assert set(to_wire(small)) == {"gram", "class_sums"}
    assert sum(array.nbytes for array in to_wire(small).values()) <= PLAIN_BYTES_MAX
    wire = to_wire(large)
    assert set(wire) == {"tables"}
    assert wire["tables"].nbytes < 0.75 * sum(array.nbytes for array in to_arrays(large).values())
    for table in (small, large):
        assert from_wire(to_wire(table), table.size, table.classes, "s") == table


def test_fewer_samples_than_features_cost_little() -> None:
    """The tables of n samples have rank n: the rows after them are predicted whole."""
    assert packed_and_back(alike(30, 321, 200, 1)) < 30_000


def test_tables_no_samples_can_make_are_refused_at_both_ends() -> None:
    table = alike(300, 200, 20, 0)
    gram = table.gram.copy()
    gram[0, 1] = gram[1, 0] = 127 * 127 * 300
    with pytest.raises(LocalError, match="cannot be packed"):
        pack_tables(gram, table.class_sums)
    sums = table.class_sums.copy()
    sums[0, 0], sums[0, 1] = sums[0, 0] + 127 * 299, sums[0, 1] - 127 * 299
    wire = {"tables": pack_tables(table.gram, sums)}
    with pytest.raises(RemoteError, match="statistics refused"):
        from_wire(wire, 200, table.classes, "s")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_still_tables(data: st.DataObject) -> None:
    packed = pack_tables(*(lambda t: (t.gram, t.class_sums))(alike(20, 12, 5, 0)))
    raw = bytearray(packed.tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    try:
        gram, _ = unpack_tables(np.frombuffer(bytes(raw), np.uint8), 12, 4)
    except RemoteError:
        return
    assert_same(gram, gram.T)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "shorter than their header"),
        (b"\x02" + b"\0" * 60, "version 2"),
        (b"\x01\xff\xff\xff\xff" + b"\0" * 60, "4294967295 unary bytes"),
        (b"\x01\0\0\0\0" + b"\x31" * 60, "parameter out of range"),
        (b"\x01\0\0\0\0" + b"\0" * 60, "hold 0 values"),
    ],
)
def test_damaged_headers_are_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(RemoteError, match=problem):
        unpack_tables(np.frombuffer(raw, np.uint8), 12, 4)


def test_what_is_left_over_is_refused() -> None:
    table = alike(20, 12, 5, 0)
    packed = pack_tables(table.gram, table.class_sums)
    with pytest.raises(RemoteError, match="bits left over"):
        unpack_tables(np.concatenate([packed, np.zeros(1, np.uint8)]), 12, 4)
