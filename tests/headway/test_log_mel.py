"""Log-mel pictures and MFCC are those of tf.signal, on synthesised sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headway.arrays import Float64
from headway.bundle.parts import read_preprocessing, written_preprocessing
from headway.errors import BundleError, DataError, LocalError
from headway.fields import Fields
from headway.maths import LogMel, Preprocessing
from headway.tensors import TensorTable
from tests.optional import when_used


def sounds(seconds: float = 1.0, rate: float = 16_000) -> Float64:
    """A tone, a sweep, hiss, a click in silence, silence, a constant, a clipped tone, and one that turns each step."""
    t = np.arange(int(seconds * rate)) / rate
    click = np.zeros_like(t)
    click[len(t) // 3] = 1.0
    hiss = np.random.default_rng(0).normal(0, 0.1, len(t))
    tone = np.sin(2 * np.pi * 440 * t)
    sweep = np.sin(2 * np.pi * (100 + 3000 * t) * t)
    fastest = (-1.0) ** np.arange(len(t))
    return np.stack([tone, sweep, hiss, click, np.zeros_like(t), np.full_like(t, 0.5), (3 * tone).clip(-1, 1), fastest])


@pytest.mark.parametrize(
    "made",
    [
        LogMel(),
        LogMel(frame=400, hop=160, fft=512, bands=16, low_hz=60, high_hz=4000),
        LogMel(8000, 200, 80, 256, high_hz=4000),
        LogMel(44_100, 1103, 441, 2048, high_hz=20_000),  # 25 ms, an odd number of samples
        LogMel(frame=1, hop=4000, fft=2),
    ],
)
def test_they_are_those_of_tf_signal(made: LogMel) -> None:
    tf = when_used("tensorflow")
    x = sounds(rate=made.rate_hz)
    spectrum = tf.abs(tf.signal.stft(x, made.frame, made.hop, made.fft))
    weights = tf.signal.linear_to_mel_weight_matrix(
        made.bands, made.fft // 2 + 1, made.rate_hz, made.low_hz, made.high_hz, tf.float64
    )
    bands = tf.math.log(spectrum @ weights + 1e-6)
    assert np.abs(made.apply(x) - bands.numpy()).max() < 1e-5
    cepstra = tf.signal.mfccs_from_log_mel_spectrograms(bands)[..., :13]
    with_coefficients = LogMel(made.rate_hz, made.frame, made.hop, made.fft, made.bands, made.low_hz, made.high_hz, 13)
    # of values up to 30, the largest of the cepstra
    assert np.abs(with_coefficients.apply(x) - cepstra.numpy()).max() < 1e-5 * np.abs(cepstra.numpy()).max()


def test_the_loudest_band_is_that_of_the_tone() -> None:
    made = LogMel()
    picture = made.apply(sounds()[:1])
    edges = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(7600 / 700), 42)
    assert picture.shape == (1, 49, 40)
    assert picture[0].mean(axis=0).argmax() == np.abs(edges[1:-1] - 1127 * np.log1p(440 / 700)).argmin()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="at least 640 samples"):
        LogMel().apply(np.zeros((1, 100)))
    with pytest.raises(LocalError, match="must rise, below 8000"):
        LogMel(high_hz=9000)
    with pytest.raises(LocalError, match="give at most as many"):
        LogMel(bands=10, coefficients=11)


@pytest.mark.parametrize(
    ("frame", "symmetric", "written"),
    [(32, None, {}), (33, None, {"symmetric": True}), (33, False, {})],  # the last as bundles before the key had it
)
def test_a_bundle_says_which_window_an_odd_frame_has(
    frame: int, symmetric: bool | None, written: dict[str, bool]
) -> None:
    made = LogMel(1000, frame, 16, 64, 6, 10, 400, symmetric=symmetric)
    whole = Preprocessing((200,), np.zeros(200, np.float32), front_end=made)
    table: Any = written_preprocessing(whole)
    assert {key: value for key, value in table["front_end"].items() if key == "symmetric"} == written
    tensors = TensorTable({"preprocessing.fill": whole.fill}, BundleError)
    assert read_preprocessing(tensors, Fields(table, "preprocessing", BundleError), (200,)).front_end == made
