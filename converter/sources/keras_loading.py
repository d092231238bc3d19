"""Reading .keras and .h5 files, those of Keras 2 too, whose saved configuration holds what Keras 3 no longer knows."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from converter.sources.keras_source import KerasSource
from converter.sources.source import Opening, first_line
from headway.errors import ConfigError, ModelError

# what Keras 2 wrote for what every layer does anyway; anything else is a setting that Keras 3 lost
NEUTRAL: tuple[Any, ...] = (None, False, 1, 0, "", "none", "default", [], {})
HARMLESS = {"implementation", "input_length", "fused", "batch_input_shape", "ragged", "sparse"}
CLASSES = {
    "Model": "Functional", "BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization",
}  # fmt: skip
UNKNOWN_CLASS = re.compile(r"(?:class|layer:?|'registered_name':) '(?:\w+>)?(\w+)'")
NAMESPACES = ("layers", "initializers", "regularizers", "constraints")


def load_keras(path: Path, opening: Opening) -> KerasSource:
    """Open a .keras or .h5 file. Raises ModelError with what Keras says of it and what to do."""
    import keras  # noqa: F401 - where it is not installed, that is no fault of the file

    import_modules(opening.modules)
    try:
        model = _load(path, opening)
    except Exception as error:  # noqa: BLE001 - Keras raises anything, layers of the user's own too
        model = _load_repaired(path, opening, error)
    return KerasSource(model, opening.layer, path.stem, opening.input_shape)


def import_modules(names: tuple[str, ...]) -> None:
    """Import modules that register layers, by name (the current folder counts) or as .py files. Raises ConfigError."""
    for name in names:
        try:
            if name.endswith(".py"):
                spec = importlib.util.spec_from_file_location(Path(name).stem, name)
                assert spec is not None
                assert spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                sys.modules[Path(name).stem] = module
                spec.loader.exec_module(module)
            else:
                if "" not in sys.path:
                    sys.path.insert(0, "")
                importlib.import_module(name)
        except Exception as error:  # code of the user's own, which may raise anything
            raise ConfigError(f"--import {name} fails: {type(error).__name__}: {first_line(error)}") from error


def _load(path: Path, opening: Opening) -> Any:
    import keras

    return keras.models.load_model(path, compile=False, safe_mode=not opening.allow_lambda)


def _load_repaired(path: Path, opening: Opening, first: Exception) -> Any:
    """The model of a file whose configuration was mended. Raises ModelError about `first` where that is no help."""
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        mended = Path(folder) / path.name
        try:
            if not _mend(path, mended):
                raise _refusal(path, first) from first
            return _load(mended, opening)
        except ModelError:
            raise
        except Exception as error:  # as above
            raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> ModelError:
    said = " ".join(str(error).split()) or type(error).__name__
    if "Lambda" in said and ("safe_mode" in said or "unsafe" in said or "deserializ" in said):
        return ModelError(
            f"{path} holds a Lambda layer, which is Python code that runs when the model is opened; if you trust the "
            "file give --allow-lambda, or write the layer as a class and give --import MODULE"
        )
    if "Could not locate" in said or "Unknown layer" in said or "register_keras_serializable" in said:
        named = UNKNOWN_CLASS.search(said)
        own = "a class" if named is None else f"class {named.group(1)!r}"
        return ModelError(
            f"{path} holds {own} that Keras does not know; register it with "
            "@keras.saving.register_keras_serializable() and give --import MODULE, the module or .py file that does so"
        )
    return ModelError(f"{path} is not a model Keras can load: {first_line(error)}")


def _mend(path: Path, mended: Path) -> bool:
    """Write a copy whose configuration Keras 3 takes; whether anything had to be changed."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            before = archive.read("config.json").decode()
            after = json.dumps(mend_configuration(json.loads(before)))
            if json.loads(after) == json.loads(before):
                return False
            with zipfile.ZipFile(mended, "w") as target:
                for member in archive.infolist():
                    target.writestr(member, after if member.filename == "config.json" else archive.read(member))
        return True
    import h5py

    shutil.copyfile(path, mended)
    with h5py.File(mended, "r+") as file:
        raw = file.attrs.get("model_config")
        if raw is None:
            raise ModelError(f"{path} holds weights without a model; save the whole model: model.save({path.name!r})")
        before = raw.decode() if isinstance(raw, bytes) else raw
        changed = mend_configuration(json.loads(before))
        if changed == json.loads(before):
            return False
        file.attrs["model_config"] = json.dumps(changed)
    return True


def mend_configuration(node: Any) -> Any:
    """A saved configuration, any part of it, without settings of Keras 2 that change nothing.

    Raises ModelError for one that changes something and that Keras 3 does not have.
    """
    if isinstance(node, list):
        return [mend_configuration(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: mend_configuration(value) for key, value in node.items()}
    kind, settings = node.get("class_name"), node.get("config")
    if not isinstance(kind, str) or not isinstance(settings, dict):
        return node
    if kind == "Policy":
        return settings.get("name", "float32")
    node["class_name"] = CLASSES.get(kind, kind)
    made = _class_of(node["class_name"])
    if made is None:
        return node
    if node.get("module", "").startswith("keras."):
        node = {key: node[key] for key in node if key != "registered_name"}
        node["module"] = f"keras.{_namespace(node['class_name'])}"
    settings = dict(settings)
    if isinstance(settings.get("axis"), list) and len(settings["axis"]) == 1:
        settings["axis"] = settings["axis"][0]
    for key in set(settings) - _known(made):
        value = settings[key]
        if key == "time_major" and value:
            named = settings.get("name")
            raise ModelError(f"layer {named!r} has time_major=True, which Keras 3 does not have; build it without")
        if value in NEUTRAL or key in HARMLESS:
            del settings[key]
    return {**node, "config": settings}


def _class_of(kind: str) -> Any:
    namespace = _namespace(kind)
    if not namespace:
        return None
    import keras

    return getattr(getattr(keras, namespace), kind)


def _namespace(kind: str) -> str:
    import keras

    return next((name for name in NAMESPACES if inspect.isclass(getattr(getattr(keras, name), kind, None))), "")


def _known(made: Any) -> set[str]:
    """Arguments that a class and its parents take; for layers, those that every layer takes."""
    known = {"name", "trainable", "dtype", "batch_input_shape", "build_config", "autocast"}
    for each in made.__mro__:
        if "__init__" in vars(each):
            known |= set(inspect.signature(each.__init__).parameters)
    return known
