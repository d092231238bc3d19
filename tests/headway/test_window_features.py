"""Features of windows: what they are, that they do not depend on what a window came with, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from headway.arrays import Float32, Float64
from headway.errors import DataError, LocalError
from headway.maths import WINDOW_FEATURES, LogMel, Preprocessing, TimeAxis, WindowFeatures

RANDOM = np.random.default_rng(0)
STEPS = np.arange(200)
TONE = 3 + 2 * np.sin(2 * np.pi * 0.1 * STEPS)


def of(name: str, x: Float64) -> Float32:
    return WindowFeatures((name,)).apply(x[None])[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", TONE.mean()),
        ("std", TONE.std()),
        ("min", TONE.min()),
        ("max", TONE.max()),
        ("median", np.median(TONE)),
        ("rms", np.sqrt(np.mean(TONE**2))),
        ("skewness", ((TONE - 3) ** 3).mean() / TONE.std() ** 3),
        ("kurtosis", 1.5),  # of a sine
        ("mean-change", np.abs(np.diff(TONE)).mean()),
        ("zero-crossings", 39 / 199),  # twice a period, but not at the beginning
        ("dominant-frequency", 0.1),
        ("spectral-centroid", 0.1),
    ],
)
def test_features_of_a_tone(name: str, expected: float) -> None:
    assert of(name, TONE) == pytest.approx(expected, abs=1e-2 if name == "zero-crossings" else 1e-4)


def test_the_energy_lies_in_the_band_of_the_tone_and_grows_with_it() -> None:
    energy = of("band-energy", TONE)
    assert energy.argmax() == 1  # of 8 bands up to half a cycle a step
    assert energy[3:].max() < 1e-6
    assert of("band-energy", 3 * TONE) == pytest.approx(3 * energy, rel=1e-5)


def test_a_tone_has_less_entropy_than_hiss_which_has_most() -> None:
    tone, hiss = of("spectral-entropy", TONE)[0], of("spectral-entropy", RANDOM.normal(size=4096))[0]
    assert tone < 0.3 < 0.9 < hiss <= 1


@pytest.mark.parametrize("value", [0.0, 0.1, -7e30])
@pytest.mark.parametrize("steps", [1, 2, 64])
def test_what_never_changes_has_no_spectrum_and_no_rounding(value: float, steps: int) -> None:
    made = WindowFeatures().apply(np.full((1, steps, 1), value, np.float32))[0]
    level = {"mean", "min", "max", "median", "rms"}
    names = [name for name in WINDOW_FEATURES for _ in range(8 if name == "band-energy" else 1)]
    for name, found in zip(names, made, strict=True):
        assert found == (np.float32(abs(value) if name == "rms" else value) if name in level else 0), name


def test_channels_come_one_after_the_other() -> None:
    x = RANDOM.normal(size=(3, 50, 2)).astype(np.float32)
    made, left, right = (WindowFeatures().apply(each) for each in (x, x[..., :1], x[..., 1:]))
    assert (made == np.concatenate([left, right], axis=1)).all()
    assert WindowFeatures().size(2) == made.shape[1] == 42


@pytest.mark.parametrize(
    ("front_end", "shape", "axis"),
    [
        (WindowFeatures(), (64, 3), TimeAxis.FIRST),
        (WindowFeatures(), (3, 64), TimeAxis.LAST),
        (LogMel(rate_hz=1000, frame=32, hop=16, fft=32, bands=6, low_hz=10, high_hz=400), (200,), TimeAxis.FIRST),
        (LogMel(rate_hz=1000, frame=32, hop=16, fft=32, bands=6, low_hz=10, high_hz=400, coefficients=4), (1, 200),
         TimeAxis.LAST),
    ],
)  # fmt: skip
def test_a_window_becomes_the_same_bits_whatever_it_came_with(
    front_end: LogMel | WindowFeatures, shape: tuple[int, ...], axis: TimeAxis
) -> None:
    channels = shape[-1] if axis is TimeAxis.FIRST else shape[0]
    made = Preprocessing(shape, np.zeros(channels, np.float32), time_axis=axis, front_end=front_end)
    x = RANDOM.normal(size=(17, *shape)).astype(np.float32)
    together, _ = made.apply(x)
    assert together.shape == (17, *made.output_shape)
    assert (together == np.concatenate([made.apply(window[None])[0] for window in x])).all()
    assert (together[::-1][:5] == made.apply(x[::-1][:5])[0]).all()


def test_the_time_axis_is_the_one_that_is_said() -> None:
    x = RANDOM.normal(size=(4, 64, 3)).astype(np.float32)
    first = Preprocessing((64, 3), np.zeros(3, np.float32), front_end=WindowFeatures())
    last = Preprocessing((3, 64), np.zeros(3, np.float32), time_axis=TimeAxis.LAST, front_end=WindowFeatures())
    assert (first.apply(x)[0] == last.apply(x.swapaxes(1, 2))[0]).all()


def test_what_is_made_is_scaled_and_shaped_as_the_backbone_takes_it() -> None:
    x = RANDOM.normal(size=(4, 64, 3)).astype(np.float32)
    offset, gain = np.arange(6, dtype=np.float32), np.full(6, 2.0, np.float32)
    made = Preprocessing((64, 3), np.zeros(3, np.float32), offset, gain, front_end=WindowFeatures(("mean", "std")),
                         output_shape=(2, 3))  # fmt: skip
    plain = WindowFeatures(("mean", "std")).apply(x)
    assert (made.apply(x)[0].reshape(4, 6) == (plain - offset) * gain).all()


def test_a_look_at_windows_computes_nothing_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    x, made = (
        np.ones((3, 64, 3), np.float32),
        Preprocessing((64, 3), np.zeros(3, np.float32), front_end=WindowFeatures()),
    )
    with monkeypatch.context() as without:
        without.setattr(WindowFeatures, "apply", None)
        made.check(x)
        made.check(x[:0])
        x[1] = np.nan
        with pytest.raises(DataError, match="sample 1 has no finite value"):
            made.check(x)
    with pytest.raises(DataError, match="sample 1 has no finite value"):
        made.apply(x)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(LocalError, match="features loudness: give different ones of mean, std"):
        WindowFeatures(("loudness",))
    with pytest.raises(DataError, match="features need"):
        WindowFeatures().apply(np.zeros(8))
    with pytest.raises(LocalError, match="one channel of at least 640 samples"):
        Preprocessing((16_000, 2), np.zeros(2, np.float32), front_end=LogMel())
    with pytest.raises(LocalError, match=r"does not fit a shape \(49, 39\)"):
        Preprocessing((16_000,), np.zeros(16_000, np.float32), front_end=LogMel(), output_shape=(49, 39))
    with pytest.raises(LocalError, match="are too many"):
        Preprocessing((1 << 22,), np.zeros(1 << 22, np.float32), front_end=LogMel(hop=1))
