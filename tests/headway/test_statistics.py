"""The promise everything rests on: integer tables add, subtract and travel without losing a bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import LocalError, RemoteError
from headway.maths.scatter import has_real_scatter
from headway.maths.solve import fleet_head
from headway.maths.statistics import EXACT_ROWS, Statistics, from_arrays, merge, pack, to_arrays, unpack
from tests.arrays import assert_same

CLASSES = ("a", "b", "c")


def samples(count: int, size: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(-127, 128, (count, size)).astype(np.int8), random.integers(0, 3, count)


def test_tables_equal_the_textbook_sums_in_plain_integers() -> None:
    codes, labels = samples(3 * EXACT_ROWS + 17)
    table = Statistics.of(codes, labels, CLASSES, "s")
    extended = np.concatenate([codes.astype(np.int64), np.ones((len(codes), 1), np.int64)], axis=1)
    assert_same(table.gram, extended.T @ extended)
    assert_same(table.class_sums, extended.T @ np.eye(3, dtype=np.int64)[labels])
    assert table.samples == len(codes)
    assert table.counts.tolist() == np.bincount(labels, minlength=3).tolist()


def test_saturated_codes_stay_exact() -> None:
    codes = np.full((EXACT_ROWS * 2, 4), -127, np.int8)
    table = Statistics.of(codes, np.zeros(len(codes), np.int64), CLASSES, "s")
    np.testing.assert_array_equal(table.gram[:4, :4], 127 * 127 * len(codes))


@pytest.mark.parametrize("devices", [1, 7, 100])
@pytest.mark.parametrize("split", ["iid", "one class each", "uneven"])
def test_fleet_head_has_the_same_bits_for_any_split_and_order(devices: int, split: str) -> None:
    codes, labels = samples(1500)
    source = Statistics.of(*samples(600, seed=9), CLASSES, "s")
    random = np.random.default_rng(devices)
    owner = {
        "iid": random.integers(0, devices, len(codes)),
        "one class each": (labels * 37 + random.integers(0, 3, len(codes)) * 3) % devices,
        "uneven": np.minimum(random.geometric(0.2, len(codes)) - 1, devices - 1),
    }[split]
    parts = [Statistics.of(codes[owner == k], labels[owner == k], CLASSES, "s") for k in range(devices)]
    random.shuffle(parts)  # type: ignore[arg-type]
    expected = fleet_head(source, Statistics.of(codes, labels, CLASSES, "s"))
    found = fleet_head(source, merge(parts))
    assert found.kernel.tobytes() == expected.kernel.tobytes()
    assert found.bias.tobytes() == expected.bias.tobytes()


def test_subtracting_a_device_restores_the_bits() -> None:
    parts = [Statistics.of(*samples(50, seed=k), CLASSES, "s") for k in range(5)]
    assert merge(parts) - parts[3] == merge(parts[:3] + parts[4:])


def test_ten_by_ten_is_one_by_a_hundred() -> None:
    codes, labels = samples(100)
    tens = [Statistics.of(codes[i : i + 10], labels[i : i + 10], CLASSES, "s") for i in range(0, 100, 10)]
    assert merge(tens) == Statistics.of(codes, labels, CLASSES, "s")


def test_classes_align_by_name() -> None:
    codes, labels = samples(40)
    left = Statistics.of(codes, labels, ("a", "b", "c"), "s")
    right = Statistics.of(codes, labels, ("c", "new", "a"), "s")
    total = left + right
    assert total.classes == ("a", "b", "c", "new")
    assert total.counts.tolist() == [
        left.counts[0] + right.counts[2],
        left.counts[1],
        left.counts[2] + right.counts[0],
        right.counts[1],
    ]


def test_a_class_with_samples_cannot_be_left_out() -> None:
    table = Statistics.of(*samples(40), CLASSES, "s")
    with pytest.raises(LocalError, match="'c' holds .* samples"):
        table.with_classes(("a", "b"))


def test_other_feature_spaces_do_not_mix() -> None:
    codes, labels = samples(4)
    with pytest.raises(LocalError, match="feature spaces"):
        Statistics.of(codes, labels, CLASSES, "one") + Statistics.of(codes, labels, CLASSES, "two")


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=200))
@settings(deadline=None)
def test_packing_loses_nothing(values: list[int]) -> None:
    table = np.array(values, np.int64)
    for quickly in (False, True):
        assert_same(unpack(pack(table, quickly), len(table)), table)


def test_tables_survive_the_wire() -> None:
    table = Statistics.of(*samples(300), CLASSES, "s")
    for quickly in (False, True):
        assert from_arrays(to_arrays(table, quickly), 12, CLASSES, "s") == table


@pytest.mark.parametrize("raw", [b"", b"\x03abc", b"\x02abc", b"\x08" + b"\0" * 40])
def test_damaged_packing_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteError, match="packed table"):
        unpack(np.frombuffer(raw, np.uint8), 4)


def test_a_packed_bomb_is_not_inflated() -> None:
    bomb = pack(np.zeros(10_000_000, np.int64))
    assert len(bomb) < 50_000
    with pytest.raises(RemoteError, match="exactly 4 values"):
        unpack(bomb, 4)


def tampered(change: str) -> Statistics:
    table = Statistics.of(*samples(30), CLASSES, "s")
    gram, sums = table.gram.copy(), table.class_sums.copy()
    match change:
        case "negative count":
            sums[-1, 0] = -1
        case "diagonal":
            gram[2, 2] = -5
        case "too large":
            gram[0, 1] = gram[1, 0] = 127 * 127 * 30 + 1
        case "sums":
            sums[0, 0] += 127 * 31
        case "constant row":
            gram[0, -1] += 1
            gram[-1, 0] += 1
        case "cauchy schwarz":
            gram[0, 1] = gram[1, 0] = 127 * 127 * 29
            gram[0, 0] = 1
        case "corner":
            gram[-1, -1] += 1
        case "class mean without its squares":
            gram[3, 3] = int(sums[3, 0] ** 2 // max(sums[-1, 0], 1)) - 1
        case "no spread in a direction, and less":
            # of the means alone, and a little less
            gram[:-1, :-1] = np.rint((sums[:-1] / np.maximum(sums[-1], 1)) @ sums[:-1].T)
            gram[3, 3] -= 1 + gram[3, 3] // 100
    return Statistics(gram, sums, CLASSES, "s")


@pytest.mark.parametrize(
    "change",
    [
        "negative count",
        "diagonal",
        "too large",
        "sums",
        "constant row",
        "cauchy schwarz",
        "corner",
        "class mean without its squares",
        "no spread in a direction, and less",
    ],
)
def test_tables_no_samples_can_make_are_refused(change: str) -> None:
    table = tampered(change)
    assert table.inconsistency() is not None
    with pytest.raises(RemoteError, match="statistics refused"):
        from_arrays(to_arrays(table), 12, CLASSES, "s")


def test_honest_tables_are_consistent() -> None:
    assert Statistics.of(*samples(30), CLASSES, "s").inconsistency() is None
    assert Statistics.zeros(12, CLASSES, "s").inconsistency() is None


@pytest.mark.parametrize("size", [1, 12, 320])
@pytest.mark.parametrize("kind", ["one sample", "all alike", "dead features", "saturated", "two values", "many"])
def test_honest_tables_at_the_edge_are_consistent(kind: str, size: int) -> None:
    random = np.random.default_rng(size)
    codes = random.integers(-127, 128, (600, size)).astype(np.int8)
    labels = random.integers(0, 3, 600)
    match kind:
        case "one sample":
            codes, labels = codes[:1], labels[:1]
        case "all alike":
            codes[:] = codes[0]
        case "dead features":
            codes[:, ::2] = 0
        case "saturated":
            codes[:] = np.where(labels[:, None] == 1, 127, -127)
        case "two values":
            codes = np.where(codes > 0, 127, -127).astype(np.int8)
    table = Statistics.of(codes, labels, CLASSES, "s")
    times = 10**8 if kind == "many" else 1
    assert Statistics(table.gram * times, table.class_sums * times, CLASSES, "s").inconsistency() is None


@pytest.mark.parametrize(("times", "within_tolerance"), [(30, False), (10**9, True)])
def test_a_value_one_beyond_what_samples_reach_is_refused_also_where_rounding_hides_it(
    times: int, within_tolerance: bool
) -> None:
    saturated = Statistics.of(np.full((1, 2), 127, np.int8), np.zeros(1, np.int64), CLASSES, "s")
    gram, sums = saturated.gram * times, saturated.class_sums * times
    assert Statistics(gram, sums, CLASSES, "s").inconsistency() is None
    for places in (([0, 1], [1, 0]), ([0, 1], [0, 1])):
        beyond = gram.copy()
        beyond[places] += 1
        assert has_real_scatter(beyond, sums) == (within_tolerance or places[0] == places[1])
        table = Statistics(beyond, sums, CLASSES, "s")
        assert table.inconsistency() is not None
        assert (table.inconsistency(real_scatter=True) is not None) == has_real_scatter(beyond, sums)
