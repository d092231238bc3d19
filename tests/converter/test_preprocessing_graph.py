"""Preprocessing written as TensorFlow operations gives what the device's NumPy gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter.export.preprocessing_graph import apply
from converter.export.trainable_graph import read_preprocessing, write_plan
from headway.maths import HeadKind
from headway.maths.preprocessing import Denoise, Missing, Preprocessing
from tests.arrays import assert_close, assert_same
from tests.optional import when_used

tf = when_used("tensorflow")
FILL = np.array([1.5, -2.0, 0.25], np.float32)
OFFSET, GAIN = np.array([3.0, -1.0, 0.5], np.float32), np.array([0.5, 2.0, 1e-3], np.float32)


def broken(shape: tuple[int, ...]) -> np.ndarray:
    """Windows with a fifth of their values missing, one channel from the start on, one from the middle to the end."""
    random = np.random.default_rng(0)
    x = random.normal(3, 10, shape).astype(np.float32)
    x[random.random(shape) < 0.2] = np.nan
    x[0, ..., 0] = -np.inf
    x[1, shape[1] // 2 :] = np.inf
    x[1, 0] = 3.0
    return x


# a trainable file refuses gaps that are filled on a line
@pytest.mark.parametrize("missing", [missing for missing in Missing if missing is not Missing.LINEAR])
@pytest.mark.parametrize(
    "denoise", [{}, {"denoise": Denoise.MEDIAN, "median_width": 3}, {"denoise": Denoise.MEDIAN, "median_width": 9},
                {"denoise": Denoise.EWMA, "ewma_weight": 0.3}, {"denoise": Denoise.EWMA, "ewma_weight": 1.0}],
)  # fmt: skip
@pytest.mark.parametrize("steps", [1, 2, 13, 64])
def test_series(missing: Missing, denoise: dict[str, object], steps: int) -> None:
    fitted = Preprocessing((steps, 3), FILL, OFFSET, GAIN, missing=missing, **denoise)  # type: ignore[arg-type]
    x = broken((40, steps, 3))
    x = x[np.isfinite(x).reshape(len(x), -1).any(axis=1)]
    expected, _ = fitted.apply(x)
    found = apply(tf.constant(x), fitted).numpy()
    assert found.dtype == np.float32
    assert_close(found, expected, rtol=1e-5, atol=1e-5)
    if denoise.get("denoise") is not Denoise.EWMA:
        assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max(), "no sum is taken in another order"


@pytest.mark.parametrize("shape", [(3,), (6, 5, 3)])
def test_tables_and_images(shape: tuple[int, ...]) -> None:
    fitted = Preprocessing(shape, FILL, OFFSET, GAIN)
    x = broken((30, *shape))
    x = x[np.isfinite(x).reshape(len(x), -1).any(axis=1)]
    assert_close(apply(tf.constant(x), fitted), fitted.apply(x)[0], rtol=1e-6)


def test_largest_values_are_values() -> None:
    fitted = Preprocessing((3,), FILL)
    x = np.array([[np.finfo(np.float32).max, -np.finfo(np.float32).max, np.inf]], np.float32)
    assert_same(apply(tf.constant(x), fitted), fitted.apply(x)[0])


def test_all_that_a_trainable_file_takes_reaches_its_graph(tmp_path: Path) -> None:
    fitted = Preprocessing((8, 3), FILL, OFFSET, GAIN, Missing.LAST, Denoise.EWMA, ewma_weight=0.25,
                           low=FILL - 1, high=FILL + 1)  # fmt: skip
    write_plan(tmp_path / "plan.npz", np.eye(3, dtype=np.float32), FILL, HeadKind.SOFTMAX, (8, 3), fitted)
    x = broken((6, 8, 3))[2:]
    assert_same(read_preprocessing(tmp_path / "plan.npz").apply(x)[0], fitted.apply(x)[0])
