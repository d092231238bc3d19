"""Reads trained models: Keras, SavedModel, ONNX."""

from converter.sources.frozen import only
from converter.sources.keras_source import KerasSource
from converter.sources.onnx_names import canonical
from converter.sources.onnx_operators import with_standard_operators
from converter.sources.opening import check_path, open_source
from converter.sources.rounding import ROUNDINGS
from converter.sources.source import QUIET, HeadWeights, Opening, Source, first_line

__all__ = [
    "QUIET",
    "ROUNDINGS",
    "HeadWeights",
    "KerasSource",
    "Opening",
    "Source",
    "canonical",
    "check_path",
    "first_line",
    "only",
    "open_source",
    "with_standard_operators",
]
