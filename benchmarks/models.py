"""The twelve model shapes of the converter's figures, trained a little on synthetic windows.

Batch normalisation gets random gains and offsets and the statistics of real passes, because with those of a fresh
layer (mean 0, variance 1) a converter that loses them would still look right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import windows
from headway.arrays import AnyArray, Float32

Layers = Any
BATCH_ROWS = 32
STATISTICS_PASSES = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of model.

    build: Keras layers -> model; draw: (rows, seed) -> x float32 (n, ...), y as training takes it;
    classes: outputs of the head; epochs: how long it trains; loss: Keras name;
    smoothing: of the labels, as image classifiers are usually trained; without it Adam drives the logits of a wide
    head to 50 in 40 steps.
    """

    name: str
    build: Callable[[Layers], Any]
    draw: Callable[[int, int], tuple[Float32, AnyArray]]
    classes: int
    rows: int = 400
    epochs: int = 4
    loss: str = "sparse_categorical_crossentropy"
    learning_rate: float = 2e-3
    smoothing: float = 0.0

    @property
    def class_names(self) -> list[str]:
        return [f"class-{index}" for index in range(self.classes)]


def trained(shape: Shape, seed: int = 1) -> tuple[Any, Float32, AnyArray]:
    """The model, trained a little, and its training data x float32 (n, ...), y."""
    import keras

    keras.utils.set_random_seed(seed)
    x, y = shape.draw(shape.rows, seed)
    model = shape.build(keras.layers)
    _settle_normalisation(model, x, seed)
    loss, targets = shape.loss, y
    if shape.smoothing:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=shape.smoothing)
        targets = keras.utils.to_categorical(y, shape.classes)
    model.compile(keras.optimizers.Adam(shape.learning_rate), loss)
    model.fit(x, targets, epochs=shape.epochs, batch_size=BATCH_ROWS, verbose=0)
    return model, x, y


def _settle_normalisation(model: Any, x: Float32, seed: int) -> None:
    random = np.random.default_rng(seed)
    normalisations = [layer for layer in model._flatten_layers() if type(layer).__name__ == "BatchNormalization"]
    for layer in normalisations:
        layer.gamma.assign(random.uniform(0.6, 1.4, layer.gamma.shape))
        layer.beta.assign(random.normal(0, 0.2, layer.beta.shape))
    for step in range(STATISTICS_PASSES if normalisations else 0):
        for layer in normalisations:
            layer.momentum = 0.7 if step else 0.0  # what a fresh layer starts from must not stay in the average
        model(x[np.arange(step * BATCH_ROWS, (step + 1) * BATCH_ROWS) % len(x)], training=True)
    for layer in normalisations:
        layer.momentum = 0.9  # the few batches that follow must count


def _classified(draw: Callable[..., Float32], *size: int) -> Callable[[int, int], tuple[Float32, AnyArray]]:
    """draw(rows, *size, seed), the last of `size` being the classes, with one label per row."""
    return lambda rows, seed: (draw(rows, *size, seed), windows.labels(rows, size[-1]))


def _mobilenet_v2(layers: Layers) -> Any:
    import keras

    return keras.applications.MobileNetV2(weights=None, classes=10, input_shape=(96, 96, 3))


def _nested(layers: Layers) -> Any:
    import keras

    inner = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(64, 64, 3))
    parts = [layers.Input((64, 64, 3)), inner, layers.GlobalAveragePooling2D(), layers.Dropout(0.2)]
    return keras.Sequential([*parts, layers.Dense(6, activation="softmax")], name="nested")


def _ds_cnn(layers: Layers) -> Any:
    import keras

    x = inputs = layers.Input((49, 10, 1))
    x = layers.Conv2D(64, (10, 4), strides=(2, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for _ in range(4):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(64, 1, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(x), name="ds_cnn")


def _sequential(name: str, *parts: Callable[[Layers], Any]) -> Callable[[Layers], Any]:
    def build(layers: Layers) -> Any:
        import keras

        return keras.Sequential([part(layers) for part in parts], name=name)

    return build


def _cnn_1d(layers: Layers, outputs: int, activation: str | None) -> Any:
    import keras

    return keras.Sequential(
        [
            layers.Input((100, 6)),
            layers.Conv1D(32, 7, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling1D(2),
            layers.Dropout(0.2),
            layers.Conv1D(64, 5, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling1D(),
            layers.Dense(64, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(outputs, activation=activation),
        ],
        name="cnn_1d",
    )


def _separate_softmax(layers: Layers) -> Any:
    import keras

    x = inputs = layers.Input((100, 6))
    x = layers.SeparableConv1D(32, 5, activation="swish")(x)
    x = layers.add([x, layers.Conv1D(32, 3, padding="same", activation="tanh")(x)])
    x = layers.Flatten()(layers.AveragePooling1D(8)(x))
    x = layers.Dropout(0.2)(layers.LayerNormalization()(layers.Dense(48)(x)))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(8)(x)), name="separate_softmax")


def _with_preprocessing(layers: Layers) -> Any:
    import keras

    normalise = layers.Normalization()
    normalise.adapt(windows.images(64, 32, 5, 3))
    return keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            normalise,
            layers.RandomFlip("horizontal"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, 3, strides=2, activation="gelu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(24, activation="relu"),
            layers.Dense(5, activation="softmax"),
        ],
        name="with_preprocessing",
    )


def _bytes_images(rows: int, seed: int) -> tuple[Float32, AnyArray]:
    x = np.round((windows.images(rows, 32, 5, seed) + 1) * 127.5).astype(np.float32)
    return x, windows.labels(rows, 5)


def _labelled(rows: int, seed: int) -> tuple[Float32, AnyArray]:
    x = windows.series(rows, 100, 6, 8, seed)
    return x, windows.several_labels(x.mean(axis=1), 5)


def _valued(rows: int, seed: int) -> tuple[Float32, AnyArray]:
    x = windows.table(rows, 16, 6, seed)
    return x, windows.values(x, 3)


def _recurrent(kind: str) -> Callable[[Layers], Any]:
    return _sequential(
        kind.lower(),
        lambda layers: layers.Input((50, 6)),
        lambda layers: getattr(layers, kind)(32),
        lambda layers: layers.Dense(6, activation="softmax"),
    )


def _dense(*sizes: int, outputs: int, columns: int, activation: str | None) -> Callable[[Layers], Any]:
    hidden = [lambda layers, size=size: layers.Dense(size, activation="relu") for size in sizes]
    head = lambda layers: layers.Dense(outputs, activation=activation)  # noqa: E731
    return _sequential("dense", lambda layers: layers.Input((columns,)), *hidden, head)


_ALL = (
    Shape(
        "MobileNetV2 96x96", _mobilenet_v2, _classified(windows.images, 96, 10), 10,
        rows=240, epochs=6, learning_rate=1e-3, smoothing=0.1,
    ),
    Shape("DS-CNN 49x10 MFCC", _ds_cnn, _classified(windows.mfcc, 12), 12),
    Shape("1D-CNN BatchNorm Dropout", lambda k: _cnn_1d(k, 8, "softmax"), _classified(windows.series, 100, 6, 8), 8),
    Shape("GRU", _recurrent("GRU"), _classified(windows.series, 50, 6, 6), 6, epochs=8),
    Shape("LSTM", _recurrent("LSTM"), _classified(windows.series, 50, 6, 6), 6, epochs=8),
    Shape("MLP", _dense(64, 32, outputs=6, columns=24, activation="softmax"), _classified(windows.table, 24, 6), 6),
    Shape("multi-label sigmoid", lambda k: _cnn_1d(k, 5, "sigmoid"), _labelled, 5, loss="binary_crossentropy"),
    Shape("regression", _dense(48, 24, outputs=3, columns=16, activation=None), _valued, 3, epochs=20, loss="mse"),
    Shape(
        "nested backbone", _nested, _classified(windows.images, 64, 6), 6,
        rows=240, epochs=6, learning_rate=1e-3, smoothing=0.1,
    ),
    Shape("softmax as a layer", _separate_softmax, _classified(windows.series, 100, 6, 8), 8),
    Shape("preprocessing layers", _with_preprocessing, _bytes_images, 5, epochs=8),
    Shape(
        "1000-class head", _dense(96, 64, outputs=1000, columns=48, activation="softmax"),
        _classified(windows.table, 48, 1000), 1000, rows=4000, epochs=15,
    ),
)  # fmt: skip
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in _ALL}
