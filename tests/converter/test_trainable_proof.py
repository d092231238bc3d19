"""What a trainable file is proven on, and that a wrong one is refused. A fake source and a fake runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from converter.options import Options
from converter.trainable import trainable_proof
from converter.trainable.trainable_proof import CURVE_STEPS, prove, reference_step, with_holes
from headway.errors import ConfigError, ModelError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.preprocessing import Preprocessing

X = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
HEAD = Head(np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32), np.zeros(3, np.float32), HeadKind.SOFTMAX,
            ("a", "b", "c"), HeadInput.EMBEDDING)  # fmt: skip
FITTED = Preprocessing((5,), np.full(5, 0.5, np.float32))


class Identity:
    """A source whose embedding is its input."""

    def answers(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return inputs, HEAD.probabilities(inputs)

    def exact(self, inputs: np.ndarray) -> None:
        return None


@dataclass
class Trains:
    """A runtime that takes the steps itself; `spoil` changes what it found."""

    name: str = "ai-edge-litert"
    spoil: Callable[[dict[str, np.ndarray]], None] = lambda found: None
    version: str = "2.0.0"

    def call(self, worker: str, model: Path, given: Path, out: Path) -> None:
        assert model.read_bytes() == b"file"
        with np.load(given) as loaded:
            kernel, bias, shown = loaded["kernel"], loaded["bias"], loaded["infer"]
            found = {"output": HEAD.probabilities(FITTED.apply(shown)[0]), "losses": np.ones(CURVE_STEPS)}
            kernels, biases = [], []
            for _ in range(int(loaded["steps"])):
                reference_step(kernel, bias, HeadKind.SOFTMAX, loaded["x"], loaded["y"], float(loaded["rate"]))
                kernels.append(kernel.copy())
                biases.append(bias.copy())
        found |= {"kernels": np.stack(kernels), "biases": np.stack(biases)}
        self.spoil(found)
        np.savez(out, **found)  # type: ignore[arg-type]


class Crashes(Trains):
    def call(self, worker: str, model: Path, given: Path, out: Path) -> None:
        raise ModelError(f"{self.name} {self.version} cannot run it: it crashed with signal 11")


def proven(monkeypatch: pytest.MonkeyPatch, *runtimes: Trains) -> tuple[tuple[object, ...], tuple[str, ...]]:
    monkeypatch.setattr(trainable_proof, "installed_runtimes", lambda engine, python: runtimes)
    return prove(b"file", Identity(), HEAD, FITTED, X, Y, Options())  # type: ignore[arg-type]


def test_each_runtime_has_a_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs, left_out = proven(monkeypatch, Trains(), Trains("tflite-runtime"))
    assert [(proof.runtime, proof.parity <= 1e-6, proof.head) for proof in proofs] == [  # type: ignore[attr-defined]
        ("ai-edge-litert", True, 0.0), ("tflite-runtime", True, 0.0),
    ]  # fmt: skip
    assert left_out == ()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("output", 1e-4, "in its output and 0.0e+00 after 20 steps"),
        ("kernels", 1e-3, "after 20 steps (at most 1e-05 and 1e-05); a layer behaves differently"),
        ("biases", np.nan, "biases of the trainable file on ai-edge-litert are not finite"),
        ("losses", np.nan, "losses of the trainable file on ai-edge-litert are not finite"),
    ],
)
def test_a_file_that_does_not_match_is_refused(
    name: str, change: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(found: dict[str, np.ndarray]) -> None:
        found[name] = found[name] + change

    with pytest.raises(ModelError) as caught:
        proven(monkeypatch, Trains(spoil=spoil))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_runtime_that_crashes_is_told_and_plain_litert_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs, left_out = proven(monkeypatch, Trains(), Crashes("tflite-runtime"))
    assert len(proofs) == 1
    assert left_out == ("tflite-runtime 2.0.0 cannot run it: it crashed with signal 11",)
    with pytest.raises(ModelError, match="ai-edge-litert 2.0.0 cannot run it: it crashed with signal 11"):
        proven(monkeypatch, Crashes())
    with pytest.raises(ConfigError, match="ai-edge-litert is not installed to prove the file on"):
        proven(monkeypatch, Trains("tflite-runtime"))


def test_holes_leave_every_window_something() -> None:
    holed = with_holes(np.ones((25, 3, 4), np.float32))
    assert np.isnan(holed).mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(np.isfinite(with_holes(np.ones((25, 1), np.float32))), True)
