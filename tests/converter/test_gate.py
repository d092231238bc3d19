"""The parity gate on made-up runs: what passes, and what a refusal says."""

from __future__ import annotations

import numpy as np
import pytest

from converter.features.data import training_data
from converter.options import Options
from converter.proof.parity_gate import ParityGate, Proof, Reference, above, both_classes, close_to_exact, mixed_windows
from converter.proof.runtimes import Run
from converter.proof.scoring import score
from converter.sources import HeadWeights
from headway.arrays import Float32
from headway.errors import ConfigError
from headway.maths.head import Head, HeadInput, HeadKind
from tests.arrays import assert_same

ROWS = 60


def judged(
    gain: float,
    change: Float32 | float,
    precision: str = "float32",
    options: Options | None = None,
    rows: int = ROWS,
    exact: float | None = None,
) -> Proof:
    """The proof of a run whose embedding is off by `change`, under a head with logits of about `gain`.

    exact: how much of the way from the source's embedding to this run's the one in float64 lies; None: not to be had.
    """
    embedding = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    head = Head(np.eye(3, dtype=np.float32) * np.float32(gain), np.zeros(3, np.float32), HeadKind.SOFTMAX,
                ("a", "b", "c"), HeadInput.EMBEDDING)  # fmt: skip
    outputs = head.probabilities(embedding)
    data = training_data(embedding, outputs.argmax(axis=1))
    everything = np.arange(ROWS)
    reference = Reference(everything, embedding, embedding, outputs, score(outputs, data, everything, head.kind))
    run = Run((embedding + np.float32(change))[:rows], 1.0)
    truth = None
    if exact is not None:
        features = embedding + exact * np.asarray(change, np.float64)
        truth = features, np.asarray(head.probabilities(features.astype(np.float32)), np.float64)
    gate = ParityGate(head, data, reference, options or Options(), lambda: truth)
    return gate.judge(("tflite", precision, "a runtime", "1"), run, 10)


def test_a_run_that_matches_passes() -> None:
    proof = judged(1.0, 0.0)
    assert (proof.refused, proof.parity, proof.agreement, proof.measured) == ("", 0.0, 1.0, True)


def test_a_float32_backbone_that_differs_is_refused() -> None:
    assert "differs from the source model on a runtime by" in judged(1.0, 1e-3).refused


def test_a_backbone_as_close_to_float64_as_its_source_passes_and_both_distances_are_recorded() -> None:
    change = np.zeros((ROWS, 3), np.float32)
    change[:, 0] = 1e-5
    strict = judged(40.0, change)
    assert strict.parity < 1e-5 < strict.probability_parity < 1e-4
    assert "(at most 1e-05); a layer" in strict.refused
    assert (strict.exact_parity, strict.source_rounding) == (0.0, 0.0)
    between = judged(40.0, change, exact=0.5)
    assert between.refused == ""
    assert between.exact_parity == pytest.approx(strict.probability_parity / 2, rel=0.1)
    assert between.source_rounding == pytest.approx(strict.probability_parity / 2, rel=0.1)
    assert judged(40.0, change, exact=1.0).refused == "", "it is right, the source is not"


def test_a_source_that_is_exact_excuses_nothing() -> None:
    change = np.zeros((ROWS, 3), np.float32)
    change[:, 0] = 1e-5
    proof = judged(40.0, change, exact=0.0)
    assert proof.source_rounding == 0.0
    assert f"; {proof.exact_parity:.1e} from float64, the source 0.0e+00); a layer behaves differently" in proof.refused


def test_own_rounding_never_excuses_a_fault() -> None:
    assert "a layer behaves differently" in judged(1.0, 1e-3, exact=0.5).refused


def test_a_twin_that_is_another_model_excuses_nothing() -> None:
    change = np.zeros((ROWS, 3), np.float32)
    change[:, 0] = 1e-5
    proof = judged(40.0, change, exact=1000.0)
    assert proof.source_rounding > 1e-2
    assert "a layer behaves differently" in proof.refused
    assert close_to_exact(1.9e-5, 1e-5, 1e-5)
    assert not close_to_exact(2.1e-5, 1e-5, 1e-5)
    assert not close_to_exact(0.0, 1e-4, 1e-5)


def test_one_sigmoid_output_is_two_classes() -> None:
    one = np.array([[0.25], [1.0]])
    weights = HeadWeights(np.ones((3, 1), np.float32), np.zeros(1, np.float32), HeadKind.SIGMOID, "head")
    assert both_classes(one, weights.head(("no", "yes"))).tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert both_classes(one, weights.head(("label",))) is one


def test_one_logit_is_the_logits_of_two_classes() -> None:
    weights = HeadWeights(np.ones((3, 1), np.float32), np.ones(1, np.float32), HeadKind.LINEAR, "head")
    head = weights.head(("no", "yes"))
    assert head.logits(np.ones((1, 3), np.float32)).tolist() == [[0.0, 4.0]]
    assert both_classes(np.array([[4.0]]), head).tolist() == [[0.0, 4.0]]


def test_more_can_be_allowed_by_name() -> None:
    change = np.zeros((ROWS, 3), np.float32)
    change[:, 0] = 1e-5
    proof = judged(40.0, change)
    assert "or allow it with --max-difference" in proof.refused
    allowed = float(proof.refused.split()[-1])
    assert allowed > proof.probability_parity
    assert judged(40.0, change, options=Options(difference_max=allowed)).refused == ""


def test_a_quantised_backbone_is_judged_by_what_it_loses() -> None:
    change = np.zeros((ROWS, 3), np.float32)
    change[:6] = np.array([9.0, -9.0, 0.0]) * np.sign(np.arange(6) % 2 - 0.5)[:, None]
    proof = judged(1.0, change, "int8")
    assert proof.measured
    assert proof.drop_points > 0.5
    assert "allow more with --max-drop" in proof.refused
    allowed = Options(drop_points_max=100, agreement_percent_min=0)
    assert judged(1.0, change, "int8", allowed).refused == ""


def test_as_many_right_answers_are_not_enough_when_they_are_others() -> None:
    """A source that is wrong on six windows, and a run that is wrong on six others."""
    labels = np.arange(ROWS) % 3
    embedding = np.eye(3, dtype=np.float32)[labels]
    moved = np.roll(embedding, 1, axis=1)
    first, last = np.arange(6), np.arange(ROWS - 6, ROWS)
    head = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), HeadKind.LINEAR, ("a", "b", "c"),
                HeadInput.EMBEDDING)  # fmt: skip
    theirs, ours = embedding.copy(), embedding.copy()
    theirs[first], ours[last] = moved[first], moved[last]
    data = training_data(embedding, labels)
    reference = Reference(np.arange(ROWS), embedding, theirs, theirs, 1 - 6 / ROWS)

    def proof(options: Options) -> Proof:
        return ParityGate(head, data, reference, options, lambda: None).judge(
            ("tflite", "int8", "litert", "2"), Run(ours, 1.0), 9
        )

    strict = proof(Options())
    assert strict.drop_points == pytest.approx(0.0)
    assert strict.refused == (
        "gives the source model's answer on 80.00 % of the windows on litert "
        "(at least 95); quantise less, or allow it with --min-agreement 80"
    )
    assert proof(Options(agreement_percent_min=80)).refused == ""


def test_what_the_model_was_not_fitted_on_counts_too() -> None:
    """Right on every given window, wrong on a tenth of those between them."""
    labels = np.arange(ROWS) % 3
    embedding = np.eye(3, dtype=np.float32)[labels]
    mixed = mixed_windows(embedding)
    assert mixed.shape == embedding.shape
    head = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), HeadKind.LINEAR, ("a", "b", "c"),
                HeadInput.EMBEDDING)  # fmt: skip
    reference = Reference(np.arange(ROWS), embedding, embedding, embedding, 1.0, mixed, mixed)
    gate = ParityGate(head, training_data(embedding, labels), reference, Options(), lambda: None)
    assert len(reference.windows("int8")) == 2 * ROWS
    assert reference.windows("float32") is embedding
    spoiled = mixed.copy()
    spoiled[:6] = np.roll(spoiled[:6], 1, axis=1)
    proof = gate.judge(("tflite", "int8", "litert", "2"), Run(np.concatenate([embedding, spoiled]), 1.0), 9)
    assert (proof.agreement, proof.mixed_agreement, proof.drop_points) == (1.0, 0.9, 0.0)
    assert "on 100.00 % of the windows and 90.00 % of mixed ones on litert (at least 95)" in proof.refused
    same = gate.judge(("tflite", "int8", "litert", "2"), Run(np.concatenate([embedding, mixed]), 1.0), 9)
    assert same.refused == ""
    short = gate.judge(("tflite", "int8", "litert", "2"), Run(embedding, 1.0), 9)
    assert "litert gives float32 (60, 3), the source model float32 (120, 3)" in short.refused


def test_mixed_windows_lie_between_given_ones() -> None:
    given = np.random.default_rng(0).normal(size=(700, 4, 2)).astype(np.float32)
    mixed = mixed_windows(given)
    assert (mixed.shape, mixed.dtype) == ((200, 4, 2), np.float32)
    assert_same(mixed, mixed_windows(given))
    assert mixed.max() <= given.max()
    unmixed = (mixed == given[np.linspace(0, 699, 200).astype(int)]).all(axis=(1, 2))
    np.testing.assert_array_equal(unmixed, False)


@pytest.mark.parametrize("percent", [-1, 101])
def test_the_agreement_asked_for_has_bounds(percent: float) -> None:
    with pytest.raises(ConfigError, match=f"--min-agreement {percent} must be from 0 to 100 percent"):
        Options(agreement_percent_min=percent)


@pytest.mark.parametrize(("change", "rows", "words"), [(np.nan, ROWS, "not finite"), (0.0, ROWS - 1, "(59, 3)")])
def test_a_run_of_another_shape_or_without_numbers_is_refused(change: float, rows: int, words: str) -> None:
    assert words in judged(1.0, change, rows=rows).refused


def test_the_allowed_difference_has_bounds() -> None:
    with pytest.raises(ConfigError, match=r"--max-difference 0\.1 must be"):
        Options(difference_max=0.1)


@pytest.mark.parametrize(
    ("points", "limit", "count", "refused"),
    [
        (100 * (0.36 - 0.355), 0.5, 200, False),
        (100 * (0.36 - 0.35), 0.5, 200, True),
        (100 * (0.58 - 0.57), 1.0, 100, False),
        (100 - 100 * 0.57, 43.0, 100, False),
        (0.7, 0.7, 1000, False),
        (-1.0, 0.0, 100, False),
        (1.0, 0.0, 100, True),
    ],
)
def test_a_limit_is_met_by_as_many_windows_as_it_names(points: float, limit: float, count: int, refused: bool) -> None:
    assert above(points, limit, count) is refused
