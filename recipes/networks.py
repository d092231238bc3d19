"""The small networks of the recipes, trained once, converted by `edge-convert` and kept in a folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray

BATCH = 64


@dataclass(frozen=True, slots=True)
class Workspace:
    """data: folder of the data that no package brings, or None; cache: folder of converted bundles.

    fresh: convert again. seeds: of training, one bundle each.
    """

    data: Path | None
    cache: Path
    fresh: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)

    def file(self, name: str) -> Path:
        """A file of the data folder, or one below. FileNotFoundError, by which a recipe is skipped."""
        for path in [] if self.data is None else [self.data / name, *self.data.glob(f"*/{name}")]:
            if path.exists():
                return path
        raise FileNotFoundError(name)

    def bundle(self, name: str, seed: int, train: Callable[[], tuple[Any, AnyArray, AnyArray]], **options: Any) -> Path:
        """The converted network of that seed. train: gives the Keras model, and x and y it was trained on.

        One that other code than today's has trained is not taken for today's.
        """
        path = self.cache / f"{name}-{seed}-{_code_of(train)}.hwb"
        if self.fresh or not path.exists():
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            from converter import Options, convert

            path.parent.mkdir(parents=True, exist_ok=True)
            model, x, y = train()
            convert(model, (x, y), Options(name=name, seed=seed, **options), out=path)
        return path


def _code_of(train: Callable[..., object]) -> str:
    """Of this module and of the recipe's."""
    recipe = sys.modules[getattr(train, "func", train).__module__].__file__
    return hashlib.sha256(b"".join(Path(str(file)).read_bytes() for file in (__file__, recipe))).hexdigest()[:12]


def packaged(package: str, name: str) -> Path:
    """A file that an installed package brings; the package is not imported. FileNotFoundError, as `Workspace.file`."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(f"{package} (pip install {package})") from None
    return Path(str(next(file for file in files if file.name == name).locate()))


def dense(
    x: AnyArray,
    y: AnyArray,
    seed: int,
    hidden: Sequence[int] = (64,),
    epochs: int = 20,
    dropout: float = 0.0,
    standardise: bool = True,
    decay: bool = False,
) -> Any:
    """A fitted Keras model of dense layers. y: int64 classes (n,), or values float32 (n,).

    decay: the learning rate falls to nothing along half a cosine, from twice the usual one.
    """
    import keras

    keras.utils.set_random_seed(seed)
    flat = x.reshape(len(x), -1)
    layers = [keras.Input(x.shape[1:]), *([keras.layers.Flatten()] if x.ndim > 2 else [])]
    if standardise:
        # a flag that training never or hardly saw must not come as hundreds of deviations once it is set
        flags = ((flat == 0) | (flat == 1)).all(axis=0)
        variance = np.where(flags, 0.25, flat.var(axis=0) + 1e-6)
        layers.append(keras.layers.Normalization(mean=flat.mean(axis=0), variance=variance))
    for width in hidden:
        layers += [keras.layers.Dense(width, activation="relu"), *([keras.layers.Dropout(dropout)] if dropout else [])]
    return fitted(keras.Sequential(layers), y, x, epochs, decay)


def fitted(body: Any, y: AnyArray, x: AnyArray, epochs: int, decay: bool = False) -> Any:
    """`body` with a head for y, trained: softmax over classes, or one linear value in y's own unit."""
    import keras

    steps = epochs * -(-len(x) // BATCH)
    rate: Any = keras.optimizers.schedules.CosineDecay(2e-3, steps) if decay else 1e-3
    if y.dtype.kind in "iu":
        body.add(keras.layers.Dense(int(y.max()) + 1, activation="softmax"))
        body.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        body.fit(x, y, epochs=epochs, batch_size=BATCH, verbose=0)
        return body
    mean, spread = float(y.mean()), float(y.std())
    body.add(keras.layers.Dense(1))
    body.compile(keras.optimizers.Adam(rate), "mse")
    body.fit(x, (y - mean) / spread, epochs=epochs, batch_size=BATCH, verbose=0)
    kernel, bias = body.layers[-1].get_weights()
    body.layers[-1].set_weights([kernel * spread, np.asarray(bias * spread + mean, np.float32)])
    return body
