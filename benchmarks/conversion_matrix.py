"""Twelve model shapes x six backbone forms x three runtimes, every pair checked again outside the converter.

    python -m benchmarks.conversion_matrix [--only NAME ...] [--json FILE]

A silent failure is a backbone in a finished bundle that a runtime named in its manifest cannot run, or that does not
match Keras there (benchmarks/judging.py), on windows the converter never saw. The goal is none; one makes the exit
code 1. Beside it, in the same run: what Keras's own LiteRT export and the plain TFLite converter make of the shapes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import peer_exports
from benchmarks.interpreters import machine, require_tflite_python, run_module, scratch_rows
from benchmarks.judging import Truth, Verdict, judge, judge_answers
from benchmarks.matrix_tables import AGENT, AGENT_FASTEST, OURS, Cell, Outcome, tables
from benchmarks.models import SHAPES, Shape, trained
from converter import Options, Report, convert, training_data
from converter.export import flex_operators
from converter.proof import Runtime, installed_runtimes
from converter.sources import QUIET
from headway.arrays import AnyArray, Float32
from headway.bundle import Variant, read_variant
from headway.errors import HeadwayError, ModelError

HELD_OUT_ROWS = 400
HELD_OUT_SEED = 99
VARIANTS = (
    ("tflite", "float32"), ("tflite", "float16"), ("tflite", "dynamic"), ("tflite", "int8"),
    ("onnx", "float32"), ("onnx", "int8"),
)  # fmt: skip
RUNTIMES = {"tflite": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion_matrix", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(SHAPES), default=tuple(SHAPES), metavar="NAME")
    parser.add_argument("--json", type=Path, help="write every cell to this file")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    python = require_tflite_python()
    started = time.perf_counter()
    cells: list[Cell] = []
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="headway-matrix-") as folder:
            found = measure(SHAPES[name], Path(folder), python)
        cells += found
        silent = [f"{c.variant} on {c.runtime}: {c.note}" for c in found if c.is_ours and c.outcome is Outcome.SILENT]
        print(f"{time.perf_counter() - started:5.0f} s  {name}: {'; '.join(silent) or 'nothing silent'}", flush=True)
    print(f"\n{machine()}; {time.perf_counter() - started:.0f} s\n\n{tables(cells)}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))
    return int(any(cell.is_ours and cell.outcome is Outcome.SILENT for cell in cells))


def measure(shape: Shape, folder: Path, python: Path) -> list[Cell]:
    """All cells of one shape; `folder` is filled with models and a bundle."""
    model, x, y = trained(shape)
    truth = Truth.of(model, *(held_out := shape.draw(HELD_OUT_ROWS, HELD_OUT_SEED)))
    model.save(folder / "model.keras")
    return [*_bundle(shape, folder, x, y, truth, held_out[0], python), *_peers(shape, folder, x, truth, held_out[0])]


def _bundle(
    shape: Shape, folder: Path, x: Float32, y: AnyArray, truth: Truth, windows: Float32, python: Path
) -> list[Cell]:
    options = Options(formats=("tflite", "onnx"), quantize=("none", "float16", "dynamic", "int8"), tflite_python=python)
    bundle = folder / "model.hwb"
    try:
        report = convert(folder / "model.keras", training_data(x, y, shape.class_names), options, out=bundle)
    except HeadwayError as error:
        return [_cell(shape, engine, precision, runtime, Outcome.LEFT_OUT, str(error))
                for engine, precision in VARIANTS for runtime in RUNTIMES[engine]]  # fmt: skip
    variant = read_variant(bundle)
    rows = str(scratch_rows(folder, "held-out", windows))
    answers: dict[str, AnyArray] = {}
    cells = []
    for index, interpreter in enumerate((sys.executable, str(python))):
        run_module(interpreter, "benchmarks.bundle_check", str(bundle), rows, str(folder / f"answers-{index}.npz"))
        with np.load(folder / f"answers-{index}.npz") as loaded:
            answers |= (here := dict(loaded))
        cells += [_choice(shape, here, name, truth, interpreter) for name in ("agent", "fastest")]
    for engine, precision in VARIANTS:
        for runtime in RUNTIMES[engine]:
            cells.append(_pair(shape, variant, report, answers, truth, engine, precision, runtime))
    return cells


def _choice(shape: Shape, answers: dict[str, AnyArray], name: str, truth: Truth, interpreter: str) -> Cell:
    """What an agent would run there: its first choice, or the fastest that passes its probe."""
    chosen = str(answers.get(f"{name}/runtime", ""))
    verdict = judge_answers(truth, answers, name, exact=chosen.endswith("float32"))
    where = "tflite-runtime" if interpreter != sys.executable else "ai-edge-litert, onnxruntime"
    tool = AGENT if name == "agent" else AGENT_FASTEST
    return Cell(shape.name, tool, chosen, where, _outcome(verdict, Outcome.RAN), verdict.wrong, verdict)


def _pair(
    shape: Shape, variant: Variant, report: Report, answers: dict[str, AnyArray], truth: Truth,
    engine: str, precision: str, runtime: str,
) -> Cell:  # fmt: skip
    backbone = next((b for b in variant.backbones if (b.engine, b.precision) == (engine, precision)), None)
    proof = next((p for p in report.proofs if (p.engine, p.precision, p.runtime) == (engine, precision, runtime)), None)
    if backbone is None or runtime not in backbone.runtimes:
        reasons = [r for r in report.left_out if r.startswith(f"{engine} {precision}:")]
        why = proof.refused if proof and proof.refused else " ".join(reasons)
        return _cell(shape, engine, precision, runtime, Outcome.LEFT_OUT, why or "no reason was given")
    verdict = judge_answers(truth, answers, f"{backbone.member}@{runtime}", exact=precision == "float32")
    assert proof is not None
    outcome = _outcome(verdict, Outcome.RAN if proof.attempt == 1 else Outcome.REEXPORTED)
    return _cell(shape, engine, precision, runtime, outcome, verdict.wrong or proof.form, verdict)


def _peers(shape: Shape, folder: Path, x: Float32, truth: Truth, windows: Float32) -> list[Cell]:
    rows = scratch_rows(folder, "representative", x[: peer_exports.REPRESENTATIVE_ROWS])
    files = peer_exports.export(folder / "model.keras", rows, folder, peer_exports.ROUTES)
    cells = []
    for runtime in installed_runtimes("tflite", require_tflite_python()):
        for route, file in files.items():
            tool, precision = ("Keras export", "float32") if route == "keras" else ("TFLiteConverter", route)
            outcome, note, verdict = _tried(runtime, file, windows, truth, exact=precision == "float32")
            cells.append(Cell(shape.name, tool, f"tflite {precision}", runtime.name, outcome, note, verdict))
    return cells


def _tried(
    runtime: Runtime, file: Path | str, windows: Float32, truth: Truth, exact: bool
) -> tuple[Outcome, str, Verdict]:
    if isinstance(file, str):
        return Outcome.REFUSED, file, Verdict()
    flex = flex_operators(payload := file.read_bytes())
    note = f"needs {', '.join(flex)}" if flex else ""
    try:
        outputs = runtime.run(payload, windows).embedding
    except ModelError as error:
        return Outcome.CANNOT_RUN, note or str(error), Verdict()
    verdict = judge(truth, outputs, exact)
    return _outcome(verdict, Outcome.RAN), verdict.wrong or note, verdict


def _cell(
    shape: Shape, engine: str, precision: str, runtime: str, outcome: Outcome, note: str, verdict: Verdict | None = None
) -> Cell:
    return Cell(shape.name, OURS, f"{engine} {precision}", runtime, outcome, note, verdict or Verdict())


def _outcome(verdict: Verdict, good: Outcome) -> Outcome:
    return Outcome.SILENT if verdict.wrong else good


if __name__ == "__main__":
    sys.exit(main())
