"""The matrix's own check: it must be able to find fault."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.conversion_matrix import measure
from benchmarks.interpreters import tflite_python
from benchmarks.judging import Truth, judge, judge_answers
from benchmarks.matrix_tables import OURS, Outcome, tables
from benchmarks.models import SHAPES
from converter.sources.source import QUIET

os.environ.update(QUIET)


def truth(rows: int = 200) -> Truth:
    random = np.random.default_rng(0)
    y = np.arange(rows) % 4
    outputs = np.eye(4, dtype=np.float32)[y] * np.float32(0.9) + np.float32(0.025)
    return Truth(random.normal(size=(rows, 8)).astype(np.float32), outputs, y)


def test_the_same_answers_match() -> None:
    expected = truth()
    verdict = judge(expected, expected.outputs, exact=True, embedding=expected.embedding)
    assert (verdict.wrong, verdict.parity, verdict.agreement) == ("", 0.0, 1.0)


def test_a_float32_form_must_match_to_five_digits() -> None:
    expected = truth()
    scale = float(np.abs(expected.embedding).max())
    assert judge(expected, expected.outputs, True, expected.embedding + np.float32(5e-6 * scale)).wrong == ""
    assert "features' scale" in judge(expected, expected.outputs, True, expected.embedding + np.float32(1e-3)).wrong
    assert "in the outputs" in judge(expected, expected.outputs + np.float32(1e-4), True).wrong


def test_past_five_digits_it_must_be_as_close_to_float64_as_keras_is() -> None:
    expected = truth()
    far = expected.outputs + np.float32(3e-5)

    def against(part: float) -> str:
        """The outputs in float64 lie at `part` of the way from Keras's to those judged."""
        exact = expected.outputs.astype(np.float64) + part * 3e-5
        known = replace(expected, exact_embedding=expected.embedding.astype(np.float64), exact_outputs=exact)
        verdict = judge(known, far, True, expected.embedding)
        assert verdict.exact_parity == pytest.approx((1 - part) * 3e-5, rel=0.05)
        assert verdict.rounding == pytest.approx(part * 3e-5, rel=0.05)
        return verdict.wrong

    assert against(0.5) == ""
    assert "in the outputs" in against(0.2)
    assert "in the outputs" in judge(expected, far, True, expected.embedding).wrong


def test_a_quantised_form_may_lose_half_a_point_beyond_chance() -> None:
    expected = truth()
    damaged = expected.outputs.copy()
    damaged[0] = damaged[0][::-1]
    assert judge(expected, damaged, exact=False).wrong == ""
    damaged[:40] = damaged[:40, ::-1]
    assert judge(expected, damaged, exact=False).wrong == "loses 19.5 points"


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_values_that_are_not_finite_never_match(fault: float) -> None:
    expected = truth()
    outputs = expected.outputs.copy()
    outputs[3, 1] = fault
    assert "not finite" in judge(expected, outputs, exact=False).wrong


def test_a_pair_that_did_not_run_is_a_fault() -> None:
    assert judge_answers(truth(), {"a@b/error": np.array("no such operator")}, "a@b", True).wrong.endswith("operator")
    assert judge_answers(truth(), {}, "a@b", True).wrong == "was not run"


@pytest.mark.slow
def test_one_shape_through_the_whole_matrix(tmp_path: Path) -> None:
    pytest.importorskip("keras", reason="the converter extra is not installed")
    python = tflite_python()
    if python is None:
        pytest.skip("tflite-runtime has no environment here; make tflite-env makes it")
    cells = measure(SHAPES["MLP"], tmp_path, python)
    ours = [cell for cell in cells if cell.tool == OURS]
    assert len(ours) == 10
    assert not [cell for cell in cells if cell.is_ours and cell.outcome is Outcome.SILENT]
    assert {cell.runtime for cell in ours if cell.outcome is Outcome.RAN} >= {"ai-edge-litert", "tflite-runtime"}
    assert "| tflite float32 | tflite-runtime | 1 | 0 | 0 | 0 |" in tables(cells)
