"""Chooses the reader of a model by its type, its file's ending, or what its folder holds."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from converter.sources.keras_loading import load_keras
from converter.sources.keras_source import KerasSource
from converter.sources.onnx_source import OnnxSource
from converter.sources.saved_model_source import SavedModelSource
from converter.sources.source import QUIET, Opening, Source, first_line
from headway.errors import HeadwayError, ModelError


def open_source(model: Any, opening: Opening | str = "") -> Source:
    """Open and cut a model: a Keras model, or the path of a .keras, .h5, .onnx file or a SavedModel folder.

    opening: how, or the name of the head to cut at, '' for the last one. Raises ModelError with what was found and
    what to do.
    """
    opening = Opening(opening) if isinstance(opening, str) else opening
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    if not isinstance(model, (str, Path)):
        return KerasSource(model, opening.layer, shape=opening.input_shape)
    path = Path(model)
    check_path(path)
    try:
        if path.is_dir():
            return SavedModelSource(path, opening.layer, opening.input_shape)
        if path.suffix == ".onnx":
            return OnnxSource(path, opening.layer, opening.input_shape)
        return load_keras(path, opening)
    except (HeadwayError, ModuleNotFoundError):
        raise
    except Exception as error:  # what a damaged file makes a framework, or us, raise
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ModelError(f"{path} cannot be read, it may be damaged: save or export it again ({said})") from error


def check_path(path: Path) -> None:
    """What can be told of a model without opening it. Raises ModelError."""
    if not path.exists():
        raise ModelError(f"{path} does not exist")
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise ModelError(f"folder {path} holds no saved_model.pb; give a SavedModel, .keras, .h5 or .onnx")
    elif path.suffix not in (".keras", ".h5", ".hdf5", ".onnx"):
        raise ModelError(f"{path} ends in {path.suffix or 'nothing'}; give a .keras, .h5, .onnx or SavedModel folder")
    elif path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a .keras file, which is a zip archive; it may be cut short: save it again")
