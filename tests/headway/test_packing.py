"""Packed tables: exact, small where features are alike, and strict with bytes that nobody packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.arrays import Int64
from headway.errors import LocalError, RemoteError
from headway.maths.statistics import Statistics, to_arrays
from headway.wire.factored import QUICK_BYTES
from headway.wire.packing import from_wire, pack_tables, read_tables, to_wire, unpack_tables
from headway.wire.planes import LONG, ValueReader, write_values
from headway.wire.predicted import pack_predicted
from headway.wire.value_fields import fitting_bits, read_fields, write_fields
from tests.arrays import assert_same


def alike(count: int, size: int, rank: int, seed: int, classes: int = 4) -> Statistics:
    """Samples of `size` codes that are noisy mixtures of `rank` sources."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 25, (count, rank)) @ random.normal(0, 1, (rank, size)) / np.sqrt(rank)
    codes = np.clip(np.rint(x + random.normal(0, 2, x.shape)), -127, 127).astype(np.int8)
    names = tuple(f"c{i}" for i in range(classes))
    return Statistics.of(codes, random.integers(0, classes, count), names, "s")


def packed_and_back(table: Statistics, version: int | None = None) -> int:
    """The bytes of the newer packing; all are looked at. version: which of them has to be taken."""
    lengths = []
    for predict, quick in ((True, False), (False, True), (False, False)):
        packed = pack_tables(table.gram, table.class_sums, predict, quick)
        gram, class_sums = unpack_tables(packed, table.size, len(table.classes))
        assert_same(gram, table.gram)
        assert_same(class_sums, table.class_sums)
        lengths.append(len(packed))
    assert version in (None, int(packed[0]))
    return lengths[-1]


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
    wire = to_wire(large)
    assert set(wire) == {"tables"}
    assert wire["tables"].nbytes < 0.75 * sum(array.nbytes for array in to_arrays(large).values())
    for table in (small, large):
        assert from_wire(to_wire(table), table.size, table.classes, "s") == table


@pytest.mark.parametrize("predict", [True, False])
def test_tables_of_more_samples_than_a_packing_counts_travel_plain(predict: bool) -> None:
    random = np.random.default_rng(3)
    codes = np.maximum(random.normal(0, 40, (300, 160)), 0).clip(0, 127).astype(np.int8)
    one = Statistics.of(codes, random.integers(0, 3, 300), ("a", "b", "c"), "s")
    many = Statistics(one.gram << 28, one.class_sums << 28, one.classes, "s")
    wire = to_wire(many, predict)
    assert set(wire) == {"gram", "class_sums"}
    assert from_wire(wire, 160, many.classes, "s") == many


def test_fewer_samples_than_features_cost_little() -> None:
    """The tables of n samples have rank n: n rows say everything."""
    assert packed_and_back(alike(30, 321, 200, 1), version=3) < 30_000
    assert packed_and_back(alike(300, 321, 200, 1), version=4) > 30_000


def test_rows_that_depend_on_each_other_leave_fewer_rows() -> None:
    table = alike(30, 80, 40, 2)
    twice = table + table
    assert packed_and_back(twice, version=4) > packed_and_back(table, version=3)
    one = np.tile(np.arange(-40, 40, dtype=np.int8), (20, 1))
    assert packed_and_back(Statistics.of(one, np.zeros(20, np.int64), ("a",), "s"), version=3) < 300
    nothing = np.zeros((20, 80), np.int8)
    assert packed_and_back(Statistics.of(nothing, np.zeros(20, np.int64), ("a",), "s"), version=3) < 30


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [5, 40, 100, 400])
def test_features_of_very_different_sizes_and_near_copies_lose_nothing(count: int, seed: int) -> None:
    """What is hardest to invert: columns that are all but the same, constant, empty, or a hundred times another's."""
    random = np.random.default_rng(seed)
    codes = np.rint(random.normal(0, 1, (count, 120)) * random.choice([0, 0.4, 1, 30], 120)).clip(-127, 127)
    codes[:, 40:80] = codes[:, :40]
    codes[0, 40:44] += 1
    codes[:, 80] = 127
    labels = random.integers(0, 3, count)
    packed_and_back(Statistics.of(codes.clip(-127, 127).astype(np.int8), labels, ("a", "b", "c"), "s"))


@pytest.mark.parametrize(("count", "version"), [(4, 3), (64, 6), (96, 6), (97, 5), (300, 5), (600, 5)])
def test_whole_reports_are_quick_to_read_and_hardly_longer(count: int, version: int) -> None:
    """Neither rows nor planes that take longer to read than fields of bits."""
    table = alike(count, 320, 320, 2)
    quick, short = (pack_tables(table.gram, table.class_sums, quick=quick) for quick in (True, False))
    assert quick[0] == version
    assert len(quick) <= QUICK_BYTES * 320 * 321 / 2
    if not 96 < count <= 160:
        assert (short[0], len(quick) < 1.07 * len(short)) == (3 if count < 160 else 4, True)
        assert_same(read_tables(quick, 320, 4)[0], table.gram)


def test_rows_of_very_different_sizes_stay_in_planes_that_are_shorter() -> None:
    table = alike(60, 320, 320, 2)
    scales = 4 ** (np.arange(320) % 4)
    codes = np.clip(np.random.default_rng(1).normal(0, 1.5, (60, 320)) * scales, -127, 127).astype(np.int8)
    uneven = Statistics.of(codes, np.arange(60) % 4, table.classes, "s")
    assert [pack_tables(each.gram, each.class_sums, quick=True)[0] for each in (table, uneven)] == [6, 3]


def test_fields_that_would_be_too_long_give_way_to_planes_that_are_shorter() -> None:
    table = alike(3000, 320, 320, 2)
    packed = pack_tables(table.gram, table.class_sums, quick=True)
    assert packed[0] == 4
    assert len(packed) > QUICK_BYTES * 320 * 321 / 2
    assert_same(packed, pack_tables(table.gram, table.class_sums))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=40), st.integers(0, 62))
def test_planes_lose_nothing(values: list[int], shift: int) -> None:
    table = np.array([value >> shift for value in values], np.int64)
    reader = ValueReader(write_values(table), 0)
    assert_same(reader.take(len(table)), table)
    reader.finish()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40), max_size=40), st.integers(0, 40), st.integers(1, 31))
def test_fields_lose_nothing(values: list[int], shift: int, bits: int) -> None:
    table = np.array([value >> shift for value in values] * 20, np.int64)
    reader = ValueReader(write_fields(table, bits), 0)
    assert_same(read_fields(reader, len(table)), table.astype(np.float64))
    reader.finish()


@pytest.mark.parametrize("bits", range(2, 31))
def test_fields_have_the_bits_that_nearly_all_values_take(bits: int) -> None:
    random, half = np.random.default_rng(bits), 1 << (bits - 1)
    table = random.integers(-half, half, 5000)
    table[:2] = -half, half - 1
    assert fitting_bits(table)[0] == bits
    table[::50] = -half - 1
    chosen, length = fitting_bits(table)
    written = write_fields(table, chosen)
    assert chosen == bits
    assert len(written) == pytest.approx(length, rel=0.3, abs=200)


SEVEN = np.array([0, -1, 3, 1000, 2, -4, 1])


@pytest.mark.parametrize(
    ("place", "byte", "problem"),
    [
        (0, 0, "values of 0 bits"),
        (0, 32, "values of 32 bits"),
        # of four fields of two bits the last one has no value
        (2, 0xC0, "bits behind the last value"),
        (4, 9, "9 long ones of 7"),
        (4, 2, "in the middle of a value"),
        (5, 9, "have no place"),
        (6, 0, "have no place"),
    ],
)
def test_damaged_fields_are_refused(place: int, byte: int, problem: str) -> None:
    raw = bytearray(write_fields(SEVEN, 3))
    assert raw[4:7] == b"\x01\x03\x01"
    raw[place] = byte
    with pytest.raises(RemoteError, match=problem):
        read_fields(ValueReader(bytes(raw), 0), 7)


def test_a_place_that_belongs_to_the_next_255_values_is_refused() -> None:
    table = np.zeros(600, np.int64)
    table[255] = 1000
    raw = bytearray(write_fields(table, 3))
    # behind the fields: how many are long of each 255 values, and the place
    assert raw[226:230] == b"\0\x01\0\0"
    raw[226:230] = b"\x01\0\0\xff"
    with pytest.raises(RemoteError, match="have no place"):
        read_fields(ValueReader(bytes(raw), 0), 600)


@pytest.mark.parametrize(
    ("distinct", "count", "deflated"),
    [(256, LONG, (False, False)), (150, LONG, (True, False)), (150, LONG - 1, (True, True)), (110, LONG, (True, True))],
)
def test_long_planes_are_deflated_for_quick_readers_where_that_saves_an_eighth(
    distinct: int, count: int, deflated: tuple[bool, bool]
) -> None:
    """One plane of so many values that are equally frequent: of 150 deflating saves a tenth, of 110 a seventh."""
    table = np.random.default_rng(distinct).integers(-distinct // 2, distinct // 2, count)
    for quick, expected in enumerate(deflated):
        raw = write_values(table, quick=bool(quick))
        reader = ValueReader(raw, 0)
        assert_same(reader.take(count), table)
        reader.finish()
        assert (len(raw) < count) == expected


def test_tables_no_samples_can_make_are_refused_at_both_ends() -> None:
    table = alike(300, 200, 20, 0)
    gram = table.gram.copy()
    gram[0, 1] = gram[1, 0] = 127 * 127 * 300
    with pytest.raises(LocalError, match="cannot be packed"):
        pack_predicted(gram, table.class_sums)
    with pytest.raises(RemoteError, match="statistics refused"):
        from_wire({"tables": pack_tables(gram, table.class_sums)}, 200, table.classes, "s")
    sums = table.class_sums.copy()
    sums[0, 0], sums[0, 1] = sums[0, 0] + 127 * 299, sums[0, 1] - 127 * 299
    wire = {"tables": pack_tables(table.gram, sums)}
    with pytest.raises(RemoteError, match="statistics refused"):
        from_wire(wire, 200, table.classes, "s")


def left_by(table: Statistics, weight: int, factor: Int64) -> Int64:
    """What class means and one factor leave."""
    held = table.class_sums[-1] > 0
    counts, sums = table.class_sums[-1, held], table.class_sums[:-1, held]
    means = (32 * sums + counts) // (2 * counts)
    explained = ((means * counts) @ means.T + 256 * weight * np.outer(factor, factor)) // 256
    return np.asarray(table.gram[:-1, :-1] - explained)


def as_version_2(table: Statistics) -> bytes:
    """Tables as releases before version 4 packed them, with one factor of small numbers."""
    factor, weight = np.arange(table.size) - table.size // 2, 3
    rest = left_by(table, weight, factor)[np.tri(table.size, dtype=np.bool_).T]
    head = b"\x02\x01" + weight.to_bytes(8, "little") + factor.astype(np.int8).tobytes()
    return head + write_values(table.class_sums.reshape(-1)) + write_values(rest)


def as_version_5(table: Statistics) -> bytes:
    """Fields without a factor, of so few codes that they are one block."""
    rest = left_by(table, 1, np.zeros(table.size, np.int64))
    above = rest[np.triu_indices(table.size, 1)]
    planes = np.zeros(0, np.int64), table.class_sums.reshape(-1), np.diagonal(rest)
    head = b"\x05\0" + (1).to_bytes(8, "little") + b"".join(map(write_values, planes))
    return head + write_fields(above, fitting_bits(above)[0])


def as_version_6(table: Statistics, middle: int | None = None) -> bytes:
    """Rows in fields, of fewer values than a writer takes them for. middle: the median."""
    rows = pack_tables(table.gram, table.class_sums).tobytes()
    pivots = np.frombuffer(rows, "<u2", rows[1], 3).tolist()
    told = [np.delete(table.gram[pivot, :-1], pivots[:place]) for place, pivot in enumerate(pivots)]
    values = np.concatenate(told)
    middle = int(np.median(values)) if middle is None else middle
    head = b"\x06" + rows[1 : 3 + 2 * len(pivots)] + write_values(table.class_sums.reshape(-1))
    values = values - middle
    return head + middle.to_bytes(8, "little", signed=True) + write_fields(values, fitting_bits(values)[0])


MANY, FEW = alike(20, 12, 5, 0), alike(5, 12, 5, 0)
PACKED = {
    1: pack_tables(MANY.gram, MANY.class_sums, True).tobytes(),
    2: as_version_2(MANY),
    3: pack_tables(FEW.gram, FEW.class_sums, False).tobytes(),
    4: pack_tables(MANY.gram, MANY.class_sums, False).tobytes(),
    5: as_version_5(MANY),
    6: as_version_6(FEW),
}


@pytest.mark.parametrize("version", PACKED)
def test_every_version_is_read(version: int) -> None:
    assert PACKED[version][0] == version
    gram, class_sums = unpack_tables(np.frombuffer(PACKED[version], np.uint8), 12, 4)
    wanted = FEW if version in (3, 6) else MANY
    assert_same(gram, wanted.gram)
    assert_same(class_sums, wanted.class_sums)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(sorted(PACKED)))
def test_any_damage_is_refused_or_still_tables(data: st.DataObject, version: int) -> None:
    raw = bytearray(PACKED[version])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    try:
        gram, _ = unpack_tables(np.frombuffer(bytes(raw), np.uint8), 12, 4)
    except RemoteError:
        return
    assert_same(gram, gram.T)


def test_rows_whose_middle_hides_what_float64_cannot_hold_are_refused() -> None:
    """Beside a middle of 2^62 the nearest float64 of a value is hundreds away."""
    assert as_version_6(FEW, 2**40)[:1] == b"\x06"
    assert_same(unpack_tables(np.frombuffer(as_version_6(FEW, 2**40), np.uint8), 12, 4)[0], FEW.gram)
    with pytest.raises(RemoteError, match="values that int8 samples cannot reach"):
        unpack_tables(np.frombuffer(as_version_6(FEW, -(2**62)), np.uint8), 12, 4)


def stepped(factors: Int64, value: int) -> bytes:
    """Tables of version 4 of 12 codes and 4 classes without samples, with `value` for each entry that is left."""
    planes = factors, np.zeros(52, np.int64), np.full(78, value)
    return b"\x04" + bytes([len(factors) // 12]) + (1).to_bytes(8, "little") + b"".join(map(write_values, planes))


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "packed tables are uint8"),
        (b"\x01", "shorter than their header"),
        (b"\x07" + b"\0" * 60, "version 7; this program reads 1 to 6"),
        (b"\x06\x01\0\x01\0" + b"\0" * 8, "in the middle of a value"),
        (b"\x06\x01\0\x01\0\0" + b"\0" * 8 + b"\x01", "in the middle of a value"),
        (b"\x06\x01\0\x01\0\0" + b"\0" * 8 + b"\x01" + b"\xff" * 20, "bits behind the last value"),
        (b"\x05\0" + b"\0" * 8 + b"\0\0\0\x20", "values of 32 bits"),
        (b"\x04\x01", "shorter than their header"),
        (b"\x04\x01" + b"\xff" * 60, "a weight of more than"),
        (stepped(np.full(12, 2**23), 0), "factors that int8 samples cannot reach"),
        (stepped(np.zeros(0, np.int64), 2**60), "values that int8 samples cannot reach"),
        (b"\x02", "shorter than their header"),
        (b"\x02\x01" + b"\xff" * 60, "weights of more than"),
        (b"\x02\x01\x01\0\0\0\0\0\0\0", "in the middle of a value"),
        (b"\x02\0\x09", "values of 9 bytes"),
        (b"\x02\0\x01\x35\0\0\0" + b"\0" * 60, "a plane of 53 bytes for 52 values"),
        (b"\x02\0\x01\x03\0\0\0" + b"\xff" * 60, "does not inflate"),
        (b"\x03", "shorter than their header"),
        (b"\x03\x07\0" + b"\0" * 60, "7 rows of 12"),
        (b"\x03\x02\0\x01\0\x01\0" + b"\0" * 60, "name a row twice"),
        (b"\x03\x01\0\x0c\0" + b"\0" * 60, "beyond 12"),
        (b"\x03\x01\0\x01\0" + b"\0\0", "depend on each other"),
        (b"\x03\0\0" + b"\0\0\0", "1 bytes left over"),
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
    for predict, problem in ((True, "bits left over"), (False, "1 bytes left over")):
        packed = pack_tables(table.gram, table.class_sums, predict)
        with pytest.raises(RemoteError, match=problem):
            unpack_tables(np.concatenate([packed, np.zeros(1, np.uint8)]), 12, 4)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(("count", "rank"), [(3, 200), (30, 200), (100, 200), (150, 320)])
def test_the_rows_of_samples_prove_their_own_scatter(count: int, rank: int, quick: bool) -> None:
    table = alike(count, 320, rank, 4)
    packed = pack_tables(table.gram, table.class_sums, quick=quick)
    gram, class_sums, proved = read_tables(packed, 320, 4, prove=True)
    assert proved
    assert_same(gram, table.gram)
    assert_same(class_sums, table.class_sums)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 60), st.integers(0, 99), st.integers(1, 400), st.booleans(), st.booleans())
def test_no_rows_prove_a_scatter_that_is_refused(count: int, seed: int, amount: int, far: bool, quick: bool) -> None:
    """Class sums that are a little or much larger than those of the samples: never proved where Cholesky refuses."""
    table, random = alike(count, 130, 100, seed), np.random.default_rng(seed)
    class_sums, held = table.class_sums.copy(), np.flatnonzero(table.counts)
    column = int(random.choice(held))
    # one class takes from another, or grows by itself, in the rows that travel and in others
    rows = random.integers(0, 130, 130 if far else 1)
    class_sums[rows, column] += amount
    others = held[held != column]
    if len(others) and random.random() < 0.5:
        class_sums[rows, int(random.choice(others))] -= amount
    gram = table.gram.copy()
    gram[-1] = gram[:, -1] = class_sums.sum(axis=1)
    packed = pack_tables(gram, class_sums, quick=quick)
    read, sums, proved = read_tables(packed, 130, 4, prove=True)
    changed = Statistics(read, sums, table.classes, "s")
    assert not proved or changed.inconsistency() is None
