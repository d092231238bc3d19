"""A trained model in any of the accepted forms, cut in two: a backbone to freeze and the weights of its head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from headway.arrays import Float32, Float64
from headway.errors import ModelError
from headway.maths import Head, HeadInput, HeadKind, TimeAxis, link

HALF = np.float32(0.5)
PROBE = np.array([[-1.5, 0.25, 2.0], [3.0, -0.5, 0.0]], np.float32)  # logits, to tell links apart
LINKS = {
    "linear": PROBE,
    "softmax": link(PROBE, HeadKind.SOFTMAX),
    "sigmoid": link(PROBE, HeadKind.SIGMOID),
    "log_softmax": np.log(link(PROBE, HeadKind.SOFTMAX)),
}
# TensorFlow's C++ log off; oneDNN off, whose blocked sums differ in the last bits from what a device computes
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """kernel float32 (e, C), bias float32 (C,), the link after them, and where they were found.

    log: the model ends in a LogSoftmax, which changes no answer; its outputs are compared as probabilities.
    """

    kernel: Float32
    bias: Float32
    kind: HeadKind
    layer: str
    log: bool = False

    def link(self, outputs: Float32) -> Float32:
        """The model's outputs (n, C), or their exponential where they are logarithms."""
        return np.exp(outputs) if self.log else outputs

    def head(self, classes: tuple[str, ...]) -> Head:
        """The head with its classes named.

        One sigmoid output for two classes becomes two softmax columns, [0, z]: softmax([0, z])_1 = sigmoid(z). So do
        two mirrored ones, sigmoid(-z) and sigmoid(z). One logit for two classes becomes the logits [0, z].
        Raises ModelError when the number of names is another one.
        """
        kernel, bias, kind = self.kernel, self.bias, self.kind
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise ModelError(f"layer {self.layer!r} holds weights that are not finite; train the model again")
        if kind is not HeadKind.SOFTMAX and len(bias) == 1 and len(classes) == 2:
            kernel = np.concatenate([np.zeros_like(kernel), kernel], axis=1)
            bias = np.concatenate([np.zeros_like(bias), bias])
            kind = HeadKind.SOFTMAX if kind is HeadKind.SIGMOID else kind
        elif kind is HeadKind.SIGMOID and len(bias) == len(classes) == 2 and _mirrored(kernel, bias):
            # scikit-learn's binary classifiers: sigmoid of -z and z, exclusive classes
            kernel, bias, kind = (kernel - kernel[:, :1]) * HALF, (bias - bias[:1]) * HALF, HeadKind.SOFTMAX
        if len(classes) != len(bias):
            raise ModelError(
                f"layer {self.layer!r} has {len(bias)} outputs, the data names {len(classes)} classes; "
                "give 'classes' in the order of the outputs"
            )
        return Head(kernel, bias, kind, classes, HeadInput.EMBEDDING)


def _mirrored(kernel: Float32, bias: Float32) -> bool:
    return bool((kernel[:, 0] == -kernel[:, 1]).all() and bias[0] == -bias[1])


@dataclass(frozen=True, slots=True)
class Opening:
    """How a model is opened. layer: the head to cut at, '' for the last one; input_shape: of a window, where the model
    leaves lengths free; modules: to import first, they register layers; allow_lambda: run code that is in the file.
    """

    layer: str = ""
    input_shape: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    allow_lambda: bool = False


class Source(Protocol):
    """A model that has been cut."""

    @property
    def name(self) -> str: ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Without the batch axis."""
        ...

    @property
    def weights(self) -> HeadWeights: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user has to know about how the model was read."""
        ...

    @property
    def time_axis(self) -> TimeAxis | None:
        """Where time lies in a window, as the first layers take it; None where they do not show it."""
        ...

    @property
    def formats(self) -> tuple[str, ...]:
        """Which backbone formats can be made of it."""
        ...

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        """What the source's own framework computes: embeddings float32 (n, e) and the whole model's outputs (n, C).

        inputs: float32 (n, *input_shape).
        """
        ...

    def exact(self, inputs: Float32) -> tuple[Float64, Float64] | None:
        """The same two computed in float64 throughout; None when the model cannot be had so."""
        ...

    def forms(self) -> tuple[str, ...]:
        """Ways to write the backbone down, to be tried in this order."""
        ...

    def save(self, folder: Path, form: str) -> None:
        """Write the backbone, in one of its forms, for the export process."""
        ...


def link_of(activation: Any, run: Callable[[Any], Float32]) -> str:
    """The link that an activation computes, whatever its form: a function, a layer, a partial. Else its own name.

    run: applies it to `PROBE`, float32 (n, 3).
    """
    name = getattr(activation, "__name__", None) or getattr(activation, "name", None) or type(activation).__name__
    try:
        found = np.asarray(run(activation), np.float32)
    except Exception:  # noqa: BLE001 - a callable of the user's own, which may raise anything
        return str(name)
    for known, expected in LINKS.items():
        if found.shape == PROBE.shape and np.allclose(found, expected, atol=1e-6):
            return known
    return str(name)


def head_kind(activation: str, layer: str) -> HeadKind:
    """The link of that name. Raises ModelError for an activation no head ends in."""
    if activation == "log_softmax":
        return HeadKind.SOFTMAX
    if activation not in HeadKind.__members__.values():
        known = ", ".join(HeadKind)
        raise ModelError(f"layer {layer!r} ends in activation {activation}; a head ends in one of {known}")
    return HeadKind(activation)


def first_line(error: BaseException, characters: int = 300) -> str:
    """What a framework says, in one line, cut at a word where it is long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = lines[0]
    return said if len(said) <= characters else f"{said[:characters].rsplit(' ', 1)[0]} ..."
