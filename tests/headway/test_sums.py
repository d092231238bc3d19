"""Statistics at rest, as rows or as half a gram, are the same integers as the whole tables."""

from __future__ import annotations

import numpy as np
import pytest

from headway.arrays import LARGE_ROWS
from headway.errors import LocalError
from headway.maths import HalfSums, RowSums, Statistics, SumOf, Sums, from_arrays, joined, pack_upper, to_arrays
from headway.maths.sums import add_panels, matrix_of, squares_of

CLASSES = ("a", "b", "c")


def samples(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(-127, 128, (count, size)).astype(np.int8), random.integers(0, 3, count)


def forms(count: int, size: int) -> tuple[Statistics, dict[str, Sums]]:
    codes, labels = samples(count, size)
    rows = RowSums(codes, labels, CLASSES)
    half = HalfSums.of(rows)
    some = count // 3
    first, second = RowSums(codes[:some], labels[:some], CLASSES), RowSums(codes[some:], labels[some:], CLASSES)
    parts = {"rows": rows, "half": half, "sum": SumOf((first, HalfSums.of(second))), "joined": joined([first, second])}
    return Statistics.of(codes, labels, CLASSES, "s"), parts


@pytest.mark.parametrize(("count", "size"), [(0, 4), (50, 4), (2500, 7), (40, LARGE_ROWS + 90)])
@pytest.mark.parametrize("form", ["rows", "half", "sum", "joined"])
def test_every_form_holds_the_same_integers(count: int, size: int, form: str) -> None:
    whole, parts = forms(count, size)
    found = parts[form]
    assert found.statistics("s") == whole
    assert (found.size, found.samples, found.classes) == (whole.size, whole.samples, whole.classes)
    np.testing.assert_array_equal(found.counts, whole.counts)
    np.testing.assert_array_equal(matrix_of(found), whole.gram[:-1, :-1])
    assert squares_of(found) == np.trace(whole.gram[:-1, :-1])
    wider = ("c", "new", "a", "b")
    assert found.with_classes(wider).statistics("s") == whole.with_classes(wider)


@pytest.mark.parametrize("size", [4, LARGE_ROWS + 90])
def test_some_times_a_gram_is_added_with_and_without_the_constant(size: int) -> None:
    whole, parts = forms(60, size)
    for form in parts.values():
        for full in (size, size + 1):
            total = np.ones((full, full))
            add_panels(form, total, 0.25)
            np.testing.assert_allclose(total, 1 + 0.25 * whole.gram[:full, :full], rtol=1e-15)


def test_what_is_taken_out_leaves_no_bit() -> None:
    codes, labels = samples(300, 6)
    one, other = RowSums(codes[:100], labels[:100], CLASSES), RowSums(codes[100:], labels[100:], CLASSES)
    left = HalfSums.of(one, other).plus(other, sign=-1)
    assert left.statistics("s") == one.statistics("s")
    assert HalfSums.of(one).plus(one, sign=-1).statistics("s") == Statistics.zeros(6, CLASSES, "s")


def test_values_beyond_32_bits_are_kept() -> None:
    whole = Statistics.of(*samples(20, 5), CLASSES, "s")
    huge = Statistics(whole.gram << 30, whole.class_sums << 30, CLASSES, "s")
    assert HalfSums.of(huge, whole).statistics("s") == huge + whole


def test_half_a_gram_takes_a_quarter_to_a_third() -> None:
    whole = Statistics.of(*samples(3000, 1000), CLASSES, "s")
    half = HalfSums.of(whole)
    assert sum(block.nbytes for block in half.blocks) < 0.33 * whole.gram.nbytes


def test_renamed_classes_become_one_in_every_form() -> None:
    whole, parts = forms(90, 5)
    for renames in ([("a", "x")], [("b", "a")]):
        for form in (parts["rows"], parts["half"]):
            assert isinstance(form, RowSums | HalfSums)
            assert form.renamed(renames).statistics("s") == whole.renamed(renames)


def test_a_class_with_samples_is_never_lost() -> None:
    for form in forms(30, 4)[1].values():
        with pytest.raises(LocalError, match="'c' holds"):
            form.with_classes(("a", "b"))


@pytest.mark.parametrize("size", [4, LARGE_ROWS + 90])
def test_packed_they_are_the_bytes_of_the_whole_tables(size: int) -> None:
    whole, parts = forms(60, size)
    half = parts["half"]
    assert isinstance(half, HalfSums)
    packed = pack_upper(half)
    for name, array in to_arrays(whole).items():
        np.testing.assert_array_equal(packed[name], array)
    assert from_arrays(packed, size, CLASSES, "s") == whole
