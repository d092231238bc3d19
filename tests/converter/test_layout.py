"""Which axis of a window is time, read off the first layers; and preprocessing along it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
from onnx import helper

from converter import Options, convert
from converter.export.preprocessing_graph import apply
from converter.features import training_data
from converter.features.fit import fit_preprocessing
from converter.sources.keras_source import KerasSource
from converter.sources.layout import axis_of_time
from converter.sources.onnx_source import OnnxSource
from converter.sources.saved_model_source import SavedModelSource
from edge_agent.runtime import open_runtime
from headway.bundle import read_variant
from headway.errors import ConfigError
from headway.maths import Denoise, Missing, Preprocessing, TimeAxis
from tests.converter.onnx_models import floats, save

RANDOM = np.random.default_rng(0)
CHANNELS, STEPS = 3, 16


def onnx_model(folder: Path, form: str) -> Path:
    """Of windows (channels, time), or for "transposed" (time, channels); "flat" shows nothing of either."""
    first = {
        "convolution": [helper.make_node("Conv", ["scaled", "w1"], ["h"])],
        "image": [
            helper.make_node("Unsqueeze", ["scaled", "two"], ["u"]),
            helper.make_node("Conv", ["u", "w2d"], ["c"]),
            helper.make_node("Squeeze", ["c", "two"], ["h"]),
        ],
        "transposed": [
            helper.make_node("Transpose", ["scaled"], ["t"], perm=[0, 2, 1]),
            helper.make_node("Conv", ["t", "w1"], ["h"]),
        ],
        "flat": [
            helper.make_node("Flatten", ["scaled"], ["f"]),
            helper.make_node("MatMul", ["f", "wf"], ["m"]),
            helper.make_node("Unsqueeze", ["m", "two"], ["h"]),
        ],
    }[form]
    nodes = [
        helper.make_node("Mul", ["input", "half"], ["scaled"]),
        *first,
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["e"]),
        helper.make_node("Gemm", ["e", "w2"], ["z"]),
    ]
    shapes = {"w1": (4, CHANNELS, 3), "w2d": (4, CHANNELS, 1, 3), "wf": (CHANNELS * STEPS, 4), "w2": (4, 3)}
    constants = {name: RANDOM.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"half": np.array(0.5, np.float32), "two": np.array([2])}
    shape = (STEPS, CHANNELS) if form == "transposed" else (CHANNELS, STEPS)
    return save(folder / f"{form}.onnx", nodes, [floats("z", None, 3)], constants, "n", shape)


@pytest.mark.parametrize(
    ("form", "axis"),
    [("convolution", TimeAxis.LAST), ("image", TimeAxis.LAST), ("transposed", TimeAxis.FIRST), ("flat", None)],
)
def test_onnx_models_show_their_time_axis_in_the_first_convolution(
    form: str, axis: TimeAxis | None, tmp_path: Path
) -> None:
    assert OnnxSource(onnx_model(tmp_path, form)).time_axis is axis


def windows(form: str) -> np.ndarray:
    x = RANDOM.normal(size=(60, CHANNELS, STEPS)).astype(np.float32) + 5 * np.arange(CHANNELS)[:, None]
    return np.ascontiguousarray(x.swapaxes(1, 2)) if form == "transposed" else x.astype(np.float32)


@pytest.mark.parametrize("options", [{"denoise": "median"}, {"missing": "last"}, {"standardise": True}], ids=str)
def test_preprocessing_follows_the_models_axis_onto_the_device(options: dict[str, Any], tmp_path: Path) -> None:
    y = np.arange(60) % 3
    made = {}
    for form in ("convolution", "transposed"):
        convert(onnx_model(tmp_path, form), (windows(form), y), Options(formats=("onnx",), **options),
                out=tmp_path / f"{form}.hwb")  # fmt: skip
        made[form] = read_variant(tmp_path / f"{form}.hwb")
    assert made["convolution"].preprocessing.time_axis is TimeAxis.LAST
    assert made["convolution"].preprocessing.fill.shape == (CHANNELS,)
    raw = windows("convolution")
    raw[3, 1, 4:7] = np.nan
    across, along = (made[form].preprocessing for form in ("transposed", "convolution"))
    shifted = Preprocessing(
        (STEPS, CHANNELS), along.fill, along.offset, along.gain, across.missing, across.denoise, across.median_width
    )
    expected, missing = shifted.apply(raw.swapaxes(1, 2))
    found, count = along.apply(raw)
    assert count == missing == 3
    assert (found.swapaxes(1, 2) == expected).all()
    assert found.flags.c_contiguous
    assert open_runtime(made["convolution"]).embed(found).shape == (60, 4)


def test_a_model_that_does_not_show_it_is_asked_about(tmp_path: Path) -> None:
    data = (windows("flat"), np.arange(60) % 3)
    with pytest.raises(ConfigError, match=r"which axis of its input \(3, 16\) is time; give --time-axis first for"):
        convert(onnx_model(tmp_path, "flat"), data, Options(formats=("onnx",), denoise="ewma"), out=tmp_path / "m.hwb")
    given = Options(formats=("onnx",), denoise="ewma", time_axis="last")
    convert(onnx_model(tmp_path, "flat"), data, given, out=tmp_path / "m.hwb")
    assert read_variant(tmp_path / "m.hwb").preprocessing.time_axis is TimeAxis.LAST


def test_bundles_without_such_preprocessing_are_written_as_before(tmp_path: Path) -> None:
    data = (windows("convolution"), np.arange(60) % 3)
    convert(onnx_model(tmp_path, "convolution"), data, Options(formats=("onnx",)), out=tmp_path / "m.hwb")
    assert b"time_axis" not in (tmp_path / "m.hwb").read_bytes()


def test_keras_models_show_it_and_else_keep_to_channels_last(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="the converter extra is not installed")
    layers = keras.layers
    ends = [layers.GlobalAveragePooling1D(), layers.Dense(3)]
    swapped = keras.Sequential([layers.Input((CHANNELS, STEPS)), layers.Permute((2, 1)), layers.Conv1D(4, 3), *ends])
    plain = keras.Sequential([layers.Input((STEPS, CHANNELS)), layers.GRU(4), layers.Dense(3)])
    flat = keras.Sequential([layers.Input((STEPS, CHANNELS)), layers.Flatten(), layers.Dense(4), layers.Dense(3)])
    assert KerasSource(swapped).time_axis is TimeAxis.LAST
    assert KerasSource(plain).time_axis is TimeAxis.FIRST
    assert KerasSource(flat).time_axis is TimeAxis.FIRST
    swapped.export(tmp_path / "swapped", verbose=False)
    assert SavedModelSource(tmp_path / "swapped").time_axis is TimeAxis.LAST


def test_a_table_of_sensors_has_no_time() -> None:
    assert axis_of_time([0, 1], 1) is None
    assert axis_of_time([0, None, 2, 1], 1) is None


@pytest.mark.parametrize("denoise", ["none", "median", "ewma"])
@pytest.mark.parametrize("missing", ["mean", "last"])
def test_the_graph_of_a_trainable_file_swaps_the_same_axes(denoise: str, missing: str) -> None:
    pytest.importorskip("tensorflow", reason="the converter extra is not installed")
    x = windows("convolution")
    x[RANDOM.random(x.shape) < 0.2] = np.nan
    options = Options(denoise=denoise, missing=missing, standardise=True)
    fitted = fit_preprocessing(training_data(x, np.arange(60) % 3), (CHANNELS, STEPS), options, TimeAxis.LAST)
    assert (fitted.denoise is Denoise(denoise), fitted.missing is Missing.LAST) == (True, missing == "last")
    assert np.allclose(apply(x, fitted).numpy(), fitted.apply(x)[0], atol=1e-5)
