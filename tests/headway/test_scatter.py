"""The check of the scatter within classes says what a plain factorisation of the whole matrix says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.arrays import Float64, Int64
from headway.maths import scatter
from headway.maths.scatter import SCATTER_TOLERANCE, has_factor, has_real_scatter
from headway.maths.statistics import Statistics
from headway.wire.factored import pack_factored, unpack_factored

# of the trace: where rounding decides, for the matrix is formed in another order
ROUNDING = 1e-13


def raised(gram: Int64, class_sums: Int64) -> tuple[Float64, float]:
    """W + tolerance, float64 (d, d), formed at once; and the trace of the gram."""
    inner, sums = gram[:-1, :-1].astype(np.float64), class_sums[:-1].astype(np.float64)
    trace = float(np.trace(inner))
    inner -= (sums / np.maximum(class_sums[-1], 1.0)) @ sums.T
    inner[np.diag_indices(len(inner))] += SCATTER_TOLERANCE * trace
    return inner, trace


def plainly(matrix: Float64) -> bool:
    """Whether NumPy factorises the whole of it."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def crafted(count: int, size: int, seed: int, shift: int, amount: float, where: str) -> Statistics:
    """Tables of samples, singular where these are fewer than the codes, times 2^shift, and less than samples make by
    `amount` times what the check tolerates: in one entry of the diagonal, along some direction, or by class sums."""
    random = np.random.default_rng(seed)
    codes = np.rint(random.normal(0, 1, (count, size)) * random.choice([0, 1, 3, 30], size)).clip(-127, 127)
    codes[:, -1] = codes[:, 0]
    table = Statistics.of(codes.astype(np.int8), random.integers(0, 3, count), ("a", "b", "c", "d"), "s")
    gram, class_sums = table.gram << shift, table.class_sums << shift
    missing = amount * SCATTER_TOLERANCE * float(np.trace(gram[:-1, :-1].astype(np.float64)))
    if where == "diagonal":
        place = int(random.integers(0, size))
        gram[place, place] -= round(missing)
    elif where == "direction":
        # two features that say the same, and one says a little less of itself than it may
        gram[0, -2] = gram[-2, 0] = gram[0, -2] + round(missing)
    else:
        class_sums[0, 0] += round(missing)
        gram[-1] = gram[:, -1] = class_sums.sum(axis=1)
    return Statistics(gram, class_sums, table.classes, "s")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 160),
    st.sampled_from([2, 17, 96, 97, 130, 160]),
    st.integers(0, 99),
    st.sampled_from([0, 10, 25, 35]),
    st.sampled_from([0.0, 0.5, 0.9, 1.1, 2.0, 50.0, 1e6]),
    st.sampled_from(["diagonal", "direction", "sums"]),
)
def test_the_check_by_panels_is_the_plain_one(
    count: int, size: int, seed: int, shift: int, amount: float, where: str
) -> None:
    table = crafted(count, size, seed, shift, amount, where)
    found = has_real_scatter(table.gram, table.class_sums)
    matrix, trace = raised(table.gram, table.class_sums)
    if not trace:
        return
    margin = float(np.linalg.eigvalsh(matrix)[0]) / abs(trace)
    if abs(margin) > ROUNDING:
        assert found == plainly(matrix) == (margin > 0)
    raw = pack_factored(table.gram, table.class_sums)
    if raw is not None:
        read: Int64 = np.zeros_like(table.gram)
        sums, proved = unpack_factored(raw, read, 4, prove=True)
        assert np.array_equal(read[:-1, :-1], table.gram[:-1, :-1])
        assert np.array_equal(sums, table.class_sums)
        # the same numbers by the same panels
        assert proved == found


@pytest.mark.parametrize(("where", "within"), [("diagonal", 0.5), ("direction", 0.5), ("sums", 0.0)])
def test_crafted_tables_are_on_both_sides_of_the_line(where: str, within: float) -> None:
    """What the comparison above is made of: tables within the tolerance, and beyond it."""

    def taken(amount: float) -> list[bool]:
        tables = (crafted(40, 100, seed, 25, amount, where) for seed in range(6))
        return [has_real_scatter(table.gram, table.class_sums) for table in tables]

    assert all(taken(within))
    assert not any(taken(1e6))


@pytest.mark.parametrize("quick", [True, False])
def test_only_the_upper_part_is_looked_at(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not quick:
        monkeypatch.setattr(scatter, "_FACTORISE", None)
    random = np.random.default_rng(0)
    rows = random.normal(0, 1, (150, 70))
    good = rows.T @ rows
    assert has_factor(np.triu(good) + np.tril(np.full((70, 70), np.nan), -1))
    bad = good - (np.linalg.eigvalsh(good)[0] + 1e-6) * np.eye(70)
    assert not has_factor(np.triu(bad))
    assert has_factor(np.zeros((0, 0)))


def test_this_numpy_writes_the_factor_where_it_is_told_to() -> None:
    """Without it the check is a third slower, and as right."""
    assert scatter._FACTORISE is not None


def test_without_a_feature_that_says_anything_there_is_nothing_to_factorise() -> None:
    nothing = Statistics.zeros(3, ("a",), "s")
    assert has_real_scatter(nothing.gram, nothing.class_sums)
    gram = nothing.gram.copy()
    gram[0, 1] = gram[1, 0] = 1
    assert not has_real_scatter(gram, nothing.class_sums)
