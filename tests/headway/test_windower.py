"""Windows of raw rows: the same from any cut of the stream, and what gaps, units and names do to them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from headway.errors import DataError, LocalError
from headway.maths import TimeAxis
from headway.stream import UNITS, Channel, GapRule, Resampling, StreamFormat, conversion
from headway.windower import Windower, cut_windows, shaped
from tests.project.files import ROOT

NAN = float("nan")


def stream(**changes: object) -> StreamFormat:
    given: dict[str, object] = {
        "channels": (Channel("x", "m/s2"), Channel("y", "m/s2")),
        "rate_hz": 10.0,
        "length": 4,
        "hop": 2,
        "gap_s": 0.5,
    }
    return StreamFormat(**(given | changes))  # type: ignore[arg-type]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[StreamFormat, np.ndarray, np.ndarray, list[int]]:
    """Rows with jitter, gaps, repeated and earlier times, missing values, and where they are cut."""
    count = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    steps = random.choice(
        [0.1, 0.083, 0.117, 0.013, 0.0, -0.05, 0.7, 3.0, -9.0], count, p=[0.4] + [0.1] * 4 + [0.05] * 4
    )
    times = 1.7e9 + np.cumsum(steps)
    times[random.random(count) < 0.03] = NAN
    values = random.normal(0, 1, (count, 2))
    values[random.random((count, 2)) < 0.1] = NAN
    resampling = draw(st.sampled_from(Resampling))
    gap = GapRule.RESTART if resampling is Resampling.NONE else draw(st.sampled_from(GapRule))
    form = stream(
        length=draw(st.integers(1, 6)),
        hop=draw(st.integers(1, 9)),
        rate_hz=draw(st.sampled_from([10.0, 3.7, 64.0])),
        resampling=resampling,
        gap=gap,
    )
    return form, times, values, sorted(draw(st.lists(st.integers(0, count), max_size=12)))


@settings(max_examples=200, deadline=None)
@given(recordings())
def test_any_cut_of_a_stream_gives_the_windows_of_training_to_the_bit(
    recording: tuple[StreamFormat, np.ndarray, np.ndarray, list[int]],
) -> None:
    form, times, values, cuts = recording
    whole = cut_windows(times, values, form)
    windower = Windower(form)
    pieces = [
        windower.push(times[start:stop], values[start:stop])
        for start, stop in zip([0, *cuts], [*cuts, len(times)], strict=True)
    ]
    assert np.concatenate([piece.values for piece in pieces]).tobytes() == whole.values.tobytes()
    assert np.concatenate([piece.starts_s for piece in pieces]).tobytes() == whole.starts_s.tobytes()


def test_rows_are_resampled_between_their_neighbours() -> None:
    times = np.array([0.0, 0.15, 0.3, 0.45])
    ramp = np.stack([times, -times], axis=1)
    assert_allclose(cut_windows(times, ramp, stream()).values[0, :, 0], [0.0, 0.1, 0.2, 0.3], atol=1e-7)
    held = cut_windows(times, ramp, stream(resampling=Resampling.PREVIOUS)).values[0, :, 0]
    assert_allclose(held, [0.0, 0.0, 0.15, 0.3], atol=1e-7)


def test_a_gap_ends_a_window_or_is_missing_in_it() -> None:
    times = np.array([0.0, 0.1, 0.8, 0.9, 1.0, 1.1])
    values = np.ones((6, 2))
    restarted = cut_windows(times, values, stream(hop=4))
    assert_allclose(restarted.starts_s, [0.8])
    filled = cut_windows(times, values, stream(hop=4, length=8, gap=GapRule.MISSING))
    assert_array_equal(np.isnan(filled.values[0, :, 0]), [False, False, *[True] * 5, True][:8])


def test_a_gap_longer_than_a_window_restarts_whatever_the_rule() -> None:
    times = np.array([0.0, 0.1, 5.0, 5.1, 5.2, 5.3, 5.4])
    found = cut_windows(times, np.ones((7, 2)), stream(gap=GapRule.MISSING))
    assert_allclose(found.starts_s, [5.0])
    assert not np.isnan(found.values).any()


def test_a_missing_value_is_missing_in_the_window() -> None:
    values = np.arange(8.0).reshape(4, 2)
    values[1, 0] = NAN
    found = cut_windows(None, values, stream(resampling=Resampling.NONE)).values
    assert_array_equal(found, values[None].astype(np.float32))


def test_channels_are_put_in_order_by_name_and_converted() -> None:
    rows = np.array([[1.0, 0.0, 2000.0]] * 4)
    found = cut_windows(None, rows, stream(), ("y", "other", "x"), ("g", "", "mg")).values
    assert_allclose(found[0, 0], [2 * 9.80665, 9.80665], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "wanted", "gain"),
    [("mm/s", "m/s", 1e-3), ("km/h", "m/s", 1 / 3.6), ("mm", "cm", 0.1), ("rpm", "Hz", 1 / 60), ("g", "mg", 1000.0)],
)
def test_units_of_one_quantity_become_each_other(given: str, wanted: str, gain: float) -> None:
    assert conversion(given, wanted) == (pytest.approx(gain), 0.0)


def test_temperatures_have_an_offset() -> None:
    gain, offset = conversion("degF", "degC")
    assert_allclose([32 * gain + offset, 212 * gain + offset], [0.0, 100.0], atol=1e-9)


@pytest.mark.parametrize(
    ("names", "units", "problem"),
    [
        (("x", "z"), (), "channel 'y' comes not among x, z"),
        (("x", "x", "y"), (), "channel 'x' comes twice"),
        (("x", "y"), ("g", "degC"), "unit 'degC' measures temperature, 'm/s2' measures acceleration"),
        (("x", "y"), ("g", "gg"), "unit 'gg' cannot be converted"),
        (("x", "y"), ("g",), "1 units for 2 channels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(names: tuple[str, ...], units: tuple[str, ...], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        stream().arrangement(names, units)


def test_missing_steps_need_a_grid() -> None:
    with pytest.raises(LocalError, match='give resampling "linear"'):
        stream(resampling=Resampling.NONE, gap=GapRule.MISSING)


def test_windows_take_the_shape_of_the_model() -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    assert_array_equal(shaped(values, (2, 3), TimeAxis.LAST)[0], values[0].T)
    assert_array_equal(shaped(values, (6,), TimeAxis.FIRST)[0], values.ravel())


def test_the_page_names_every_unit() -> None:
    page = (ROOT / "docs" / "howto" / "sensors.md").read_text()
    told = page[page.index("Known are ") : page.index("Any other unit is taken")]
    assert set(re.findall(r"`([^`]+)`", told)) == set(UNITS)
