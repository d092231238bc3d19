"""Windows beyond the data: which are made, and what a runtime must give for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from converter.features import training_data
from converter.options import Options
from converter.proof.parity_gate import ParityGate, Reference
from converter.proof.runtimes import Run
from converter.proof.unusual import ask_source, unusual_windows
from converter.sources import HeadWeights
from headway.arrays import Float32
from headway.errors import ModelError
from headway.maths import HeadKind, Preprocessing

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 2, (30, 8, 2)).astype(np.float32)
KERNEL = RANDOM.normal(size=(2, 3)).astype(np.float32)
WEIGHTS = HeadWeights(KERNEL, np.zeros(3, np.float32), HeadKind.SOFTMAX, "head")
HEAD = WEIGHTS.head(("a", "b", "c"))


@dataclass
class Length:
    """A model whose features are the mean over time, made as long as one."""

    input_shape: tuple[int, ...] = (8, 2)
    limit: float = np.inf

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        if np.abs(inputs).max() > self.limit:
            raise ModelError("index out of range")
        embedding = unit(inputs)
        return embedding, HEAD.probabilities(embedding)


def unit(inputs: Float32) -> Float32:
    mean = inputs.astype(np.float64).mean(axis=1)
    return np.asarray(mean / np.sqrt(np.maximum(np.square(mean).sum(axis=1, keepdims=True), 1e-24)), np.float32)


def gate(x: Float32 = X, source: Length | None = None) -> ParityGate:
    source = source or Length()
    embedding, outputs = source.answers(x)
    plain = Preprocessing((8, 2), np.zeros(2, np.float32))
    unusual = ask_source(source, x, plain, embedding)  # type: ignore[arg-type]
    data = training_data(x, np.arange(len(x)) % 3)
    reference = Reference(np.arange(len(x)), x, embedding, outputs, 1.0, unusual=unusual)
    return ParityGate(HEAD, data, reference, Options(drop_points_max=100), lambda: None)


def refused(run: Float32, precision: str = "float32") -> str:
    return gate().judge(("tflite", precision, "a runtime", "1"), Run(run, 1.0), 1).refused


def ran(precision: str = "float32") -> Float32:
    return unit(gate().reference.windows(precision))


def test_dead_stuck_saturated_and_loud_sensors_are_among_the_windows() -> None:
    windows, names = unusual_windows(X)
    assert len(windows) == len(names) == len(set(names))
    assert windows.dtype == np.float32
    assert np.isfinite(windows).all()
    by_name = dict(zip(names, windows, strict=True))
    assert not by_name["a window of zeros"].any()
    assert (by_name["every channel stuck at its highest value"] == X.max(axis=(0, 1))).all()
    assert not by_name["channel 1 dead"][:, 1].any()
    assert np.abs(by_name["a spike of 1000 times the range below zero"]).max() == pytest.approx(1000 * np.abs(X).max())


def test_gaps_and_values_at_the_end_of_float32_do_not_make_infinite_windows() -> None:
    x = X.copy()
    x[::2, :, 0], x[0, 0, 1] = np.nan, 1e38
    assert np.isfinite(unusual_windows(x)[0]).all()
    assert np.isfinite(unusual_windows(np.full((3, 4, 2), np.nan, np.float32))[0]).all()
    assert np.isfinite(unusual_windows(np.full((3, 6), 255, np.uint8))[0]).all()


def test_the_same_features_pass_in_every_precision() -> None:
    assert refused(ran()) == ""
    assert refused(ran("int8"), "int8") == ""


def test_a_runtime_that_divides_zero_by_zero_is_refused_in_every_precision() -> None:
    for precision in ("float32", "int8"):
        run = ran(precision)
        run[30:] = np.where(np.abs(run[30:]).max(axis=1, keepdims=True) == 0, np.nan, run[30:])
        assert "not finite for a window of zeros, the source model does not (on a runtime)" in refused(run, precision)


def test_other_features_for_a_loud_window_are_refused_in_float32_only() -> None:
    run = ran()
    run[-2] += 0.01
    assert "differs from the source model by 1.0e-02 for a window 1000 times the range" in refused(run)
    assert refused(run, "int8") == ""


def test_a_window_on_which_the_source_itself_is_a_matter_of_rounding_may_come_out_otherwise() -> None:
    run = ran()
    run[-1] += 0.01  # values that cancel out: their mean is nothing but rounding, its direction too
    assert refused(run) == ""


def test_a_source_that_is_not_finite_itself_asks_nothing_and_is_named() -> None:
    class Squares(Length):
        def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
            with np.errstate(over="ignore"):
                embedding = np.square(inputs * np.float32(1e16)).mean(axis=1)
            return embedding, HEAD.probabilities(np.zeros_like(embedding))

    judge = gate(X, Squares())
    assert judge.reference.unusual is not None
    assert "the model itself gives no finite features for" in judge.reference.unusual.note
    infinite = Squares().answers(judge.reference.windows("float32"))[0]
    assert judge.judge(("tflite", "float32", "a runtime", "1"), Run(infinite, 1.0), 1).refused.count("finite") == 0


def test_a_source_that_cannot_take_such_windows_is_proven_on_the_data_alone() -> None:
    judge = gate(X, Length(limit=float(np.abs(X).max())))
    assert judge.reference.unusual is None
    assert len(judge.reference.windows("float32")) == len(X)
