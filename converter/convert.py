"""The conversion, start to end: load, cut, export, prove parity, fit, write."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.export import QUIET, export_tflite
from converter.report import Report
from converter.runtimes import run_tflite
from converter.training_data import TrainingData
from headway.arrays import Float32, describe
from headway.errors import ConfigError, DataError, ModelError
from headway.features import FeatureMap, calibrate_scale, raw_features
from headway.head import Head, link
from headway.preprocessing import Preprocessing
from headway.solve import fleet_head
from headway.statistics import Statistics
from headway.variant import Backbone, Variant

PARITY_MAX = 1e-5
PROBES = 8


@dataclass(frozen=True, slots=True)
class Options:
    """name, version: shown to people; release: a number that only grows, so that devices refuse to go back."""

    name: str = ""
    version: str = "1.0.0"
    release: int = 1


def convert(
    model: Any,
    data: TrainingData,
    out: Path,
    options: Options | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Report:
    """Convert `model` (a Keras model, or the path of one) and write the bundle to `out`.

    Raises ModelError when the model cannot be cut, converted or proven equal, DataError when the data does not fit.
    Nothing is written unless everything held.
    """
    from converter.cut import cut  # here, so that importing the converter does not load TensorFlow

    options = options or Options()
    if not out.parent.is_dir():
        raise ConfigError(f"cannot write {out}: folder {out.parent} does not exist")
    progress("loading the model")
    name = options.name or (Path(model).stem if isinstance(model, (str, Path)) else getattr(model, "name", "model"))
    source = _load(Path(model)) if isinstance(model, (str, Path)) else model
    found = cut(source)
    head = found.head(data.classes)
    input_shape = tuple(found.backbone.inputs[0].shape[1:])
    if None in input_shape or data.x.shape[1:] != input_shape:
        raise DataError(f"x is {describe(data.x)}; the model takes (n, {', '.join(map(str, input_shape))})")
    preprocessing = Preprocessing(input_shape, _means(data))
    inputs, _ = preprocessing.apply(data.x)
    progress("exporting the backbone to TFLite float32")
    payload, dynamic = export_tflite(found.backbone)
    progress(f"running it on {len(inputs)} windows and comparing with Keras")
    embedding = run_tflite(payload, inputs)
    feature_parity, probability_parity, accuracy = _parity(source, found.backbone, head, inputs, embedding, data)
    progress("fitting feature scales and source statistics")
    scale = calibrate_scale(raw_features(embedding, inputs, None))
    features = FeatureMap(embedding.shape[1], scale)
    codes, _ = features.codes(embedding, inputs)
    space = features.fingerprint(hashlib.sha256(payload).hexdigest())
    statistics = Statistics.of(codes, data.y, data.classes, space)
    solved = fleet_head(statistics, Statistics.zeros(features.size, data.classes, space))
    probes = _spread(data)
    report = Report(
        bundle=out,
        bundle_bytes=0,
        samples=len(codes),
        classes=data.classes,
        head_layer=found.layer,
        embedding_size=embedding.shape[1],
        feature_count=features.size,
        feature_parity=feature_parity,
        probability_parity=probability_parity,
        source_accuracy=accuracy,
        exact_accuracy=float((solved.logits(codes.astype(np.float32)).argmax(axis=1) == data.y).mean()),
    )
    variant = Variant(
        name=name,
        version=options.version,
        release=options.release,
        backbones=(Backbone("backbone/float32.tflite", "tflite", "float32", dynamic, payload),),
        head=head,
        features=features,
        preprocessing=preprocessing,
        source=statistics,
        probe_inputs=np.ascontiguousarray(inputs[probes]),
        probe_embedding=embedding[probes],
        report=report.figures(),
    )
    variant.write(out)
    return replace(report, bundle_bytes=out.stat().st_size)


def _load(path: Path) -> Any:
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    if not path.exists():
        raise ModelError(f"{path} does not exist")
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"{path} is not a model Keras can load: {str(error).splitlines()[0][:200]}") from error


def _means(data: TrainingData) -> Float32:
    """Mean per channel over the finite values, float32 (channels,)."""
    flat = data.x.reshape(-1, data.x.shape[-1]).astype(np.float64)
    finite = np.isfinite(flat)
    sums = np.where(finite, flat, 0.0).sum(axis=0)
    return np.asarray(sums / np.maximum(finite.sum(axis=0), 1), dtype=np.float32)


def _parity(
    source: Any, backbone: Any, head: Head, inputs: Float32, embedding: Float32, data: TrainingData
) -> tuple[float, float, float]:
    """Largest difference of features (over their scale) and of probabilities; accuracy of the source model."""
    expected = np.asarray(backbone.predict(inputs, verbose=0, batch_size=256), np.float32)
    if expected.shape != embedding.shape or not np.isfinite(embedding).all():
        raise ModelError(f"the written backbone gives {describe(embedding)}, Keras gives {describe(expected)}")
    scale = max(float(np.abs(expected).max()), 1e-12)
    feature_parity = float(np.abs(embedding - expected).max()) / scale
    outputs = np.asarray(source.predict(inputs, verbose=0, batch_size=256), np.float32)
    probabilities = link(head.logits(embedding), head.kind)
    probability_parity = float(np.abs(outputs - probabilities).max())
    if feature_parity > PARITY_MAX:
        raise ModelError(
            f"the written backbone differs from Keras by {feature_parity:.1e} of its scale, more than "
            f"{PARITY_MAX:.0e}. A layer behaves differently after conversion; cut the model earlier or replace it"
        )
    if probability_parity > 10 * PARITY_MAX:
        raise ModelError(
            f"backbone and head together differ from the model's output by {probability_parity:.1e}; something after "
            "the last Dense changes the result"
        )
    return feature_parity, probability_parity, float((outputs.argmax(axis=1) == data.y).mean())


def _spread(data: TrainingData) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A few rows that cover the classes, in a fixed order."""
    order = np.argsort(data.y, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(PROBES, len(order))).astype(np.int64)]
