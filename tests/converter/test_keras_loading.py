"""Files that Keras 3 does not open by itself: those of Keras 2, with Lambda layers, with layers of the user's own."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest

from converter.sources.keras_loading import mend_configuration
from converter.sources.opening import open_source
from converter.sources.source import Opening
from headway.errors import ConfigError, ModelError
from tests.optional import when_used

h5py = pytest.importorskip("h5py", reason="the converter extra is not installed")
keras = when_used("keras")
layers = when_used("keras.layers")
# what Keras 2 wrote for these layers and Keras 3 refuses
OLD = {
    "DepthwiseConv2D": {"groups": 1},
    "LSTM": {"time_major": False, "implementation": 2},
    "GRU": {"time_major": False},
    "BatchNormalization": {"axis": [3]},
    "Dense": {"dtype": {"class_name": "Policy", "config": {"name": "float32"}}},
}
OWN = """
import keras

@keras.saving.register_keras_serializable("own")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def image_model() -> Any:
    return keras.Sequential([layers.Input((8, 8, 3)), layers.DepthwiseConv2D(3), layers.BatchNormalization(),
                             layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")])  # fmt: skip


def recurrent_model() -> Any:
    return keras.Sequential([layers.Input((8, 3)), layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                             layers.GRU(4), layers.Dense(3, activation="softmax")])  # fmt: skip


def aged(node: Any) -> Any:
    """A saved configuration as Keras 2 wrote it."""
    if isinstance(node, list):
        return [aged(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: aged(value) for key, value in node.items()}
    if isinstance(node.get("config"), dict) and node.get("class_name") in OLD:
        node["config"] |= OLD[node["class_name"]]
    return node


def save_aged(model: Any, path: Path) -> Path:
    model.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(aged(json.loads(file.attrs["model_config"])))
            file.attrs["keras_version"] = "2.13.1"
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = json.dumps(aged(json.loads(members["config.json"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("build", [image_model, recurrent_model])
def test_files_of_keras_2_are_mended_and_read(build: Any, suffix: str, tmp_path: Path) -> None:
    model = build()
    path = save_aged(model, tmp_path / f"old{suffix}")
    before = path.read_bytes()
    source = open_source(path, "")
    x = np.random.default_rng(0).normal(size=(4, *source.input_shape)).astype(np.float32)
    assert np.allclose(source.answers(x)[1], model.predict(x, verbose=0), atol=1e-6)
    assert path.read_bytes() == before


def test_a_setting_that_changes_the_model_is_refused_and_others_are_kept() -> None:
    with pytest.raises(ModelError, match="layer 'l' has time_major=True, which Keras 3 does not have"):
        mend_configuration({"class_name": "LSTM", "config": {"name": "l", "units": 3, "time_major": True}})
    strange = {"class_name": "Dense", "config": {"units": 3, "wings": 4}}
    assert mend_configuration(strange) == strange, "Keras is to say what it thinks of wings"
    assert mend_configuration({"class_name": "Dense", "config": {"units": 3, "wings": None}})["config"] == {"units": 3}


def test_weights_without_a_model_are_named(tmp_path: Path) -> None:
    image_model().save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match=r"w.weights.h5 holds weights without a model; save the whole model"):
        open_source(tmp_path / "w.weights.h5", "")


def test_a_lambda_is_opened_only_when_asked(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Input((8, 3)), layers.Lambda(lambda x: x[:, -1, :]), layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="if you trust the file give --allow-lambda, or write the layer as a class"):
        open_source(tmp_path / "m.keras", "")
    assert open_source(tmp_path / "m.keras", Opening(allow_lambda=True)).input_shape == (8, 3)


@pytest.mark.parametrize("as_file", [True, False])
def test_layers_of_the_users_own_are_imported(as_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"own_layers_{as_file}".lower()
    (tmp_path / f"{name}.py").write_text(OWN.replace('"own"', f'"{name}"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    module = __import__(name)
    keras.Sequential([layers.Input((4,)), module.Twice(), layers.Dense(3)]).save(tmp_path / "m.keras")
    del sys.modules[name]
    keras.saving.get_custom_objects().clear()
    with pytest.raises(ModelError, match="'Twice' that Keras does not know; register it with .* give --import MODULE"):
        open_source(tmp_path / "m.keras", "")
    opening = Opening(modules=(f"{tmp_path}/{name}.py" if as_file else name,))
    assert open_source(tmp_path / "m.keras", opening).input_shape == (4,)


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    image_model().save(tmp_path / "m.keras")
    with pytest.raises(ConfigError, match="--import no_such_module fails: ModuleNotFoundError"):
        open_source(tmp_path / "m.keras", Opening(modules=("no_such_module",)))
