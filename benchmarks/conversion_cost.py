"""What the proofs cost: latency and size of the written backbones, and the time to write a bundle.

    python -m benchmarks.conversion_cost [--rounds N] [--seconds S]

Latency and size: each backbone out of the bundle against the plain TFLite converter's file of the same backbone, on
each runtime, both in one process, turn about. Time: whole processes from start to exit, `edge-convert` with four
precisions (TensorFlow loaded, model cut, exports, proofs on every runtime, statistics, bundle) against
`benchmarks.bare_conversions` (TensorFlow loaded, model cut, the same four exports), turn about.
Goals: latency at most 1.05, size at most 1.02, time at most 1.5 times the peer's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.interpreters import ROOT, ChildError, machine, require_tflite_python, run_module, scratch_rows
from benchmarks.models import SHAPES, trained
from benchmarks.peer_exports import REPRESENTATIVE_ROWS
from converter.sources import QUIET
from headway.bundle import read_variant

LATENCY_SHAPES = ("MobileNetV2 96x96", "DS-CNN 49x10 MFCC", "1D-CNN BatchNorm Dropout", "MLP")
TIMED_SHAPE = "MobileNetV2 96x96"
QUANTIZE = "none,float16,dynamic,int8"
# how much a quantised form loses is no matter here: all four are to be written
CONVERT = ("-m", "converter.cli", "model.keras", "--data", "train.npz", "--out", "model.hwb",
           "--max-drop", "100", "--min-agreement", "0")  # fmt: skip
BARE = ("-m", "benchmarks.bare_conversions", "model.keras", "representative.npy", ".")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="processes per side for the time (default 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="per pair of files for the latency (default 3)")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    python = str(require_tflite_python())
    print(f"{machine()}\n", flush=True)
    print("| backbone | runtime | size, bytes | of the plain converter's | us | of the plain converter's |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="headway-cost-") as folder:
        for name in LATENCY_SHAPES:
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            prepare(name, place)
            times = {"edge-convert": [_edge_convert(place, python)], "bare": [_bare(place)]}
            _compare(name, place, python, options.seconds)
            if name == TIMED_SHAPE:
                timed, timed_place = times, place
        for _ in range(options.rounds - 1):
            timed["edge-convert"].append(_edge_convert(timed_place, python))
            timed["bare"].append(_bare(timed_place))
    print(f"\n{TIMED_SHAPE}, whole processes, medians of {options.rounds}:")
    for index, what in enumerate(("seconds", "processor seconds, children included")):
        ours, bare = (float(np.median([pair[index] for pair in timed[side]])) for side in ("edge-convert", "bare"))
        print(f"  {what}: edge-convert {ours:.1f}, bare conversions {bare:.1f}, ratio {ours / bare:.2f}")
    return 0


def prepare(name: str, place: Path) -> None:
    """Write model.keras, train.npz and representative.npy of a shape of benchmarks.models."""
    shape = SHAPES[name]
    model, x, y = trained(shape)
    model.save(place / "model.keras")
    np.savez(place / "train.npz", x=x, y=y, classes=np.array(shape.class_names))
    scratch_rows(place, "representative", x[:REPRESENTATIVE_ROWS])


def _edge_convert(place: Path, python: str) -> tuple[float, float]:
    return _timed([*CONVERT, "--quantize", QUANTIZE, "--tflite-python", python], place)


def _bare(place: Path) -> tuple[float, float]:
    return _timed(list(BARE), place)


def _timed(command: list[str], place: Path) -> tuple[float, float]:
    """Seconds from start to exit, and processor seconds of the process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed: {done.stderr[-1000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _compare(name: str, place: Path, python: str, seconds: float) -> None:
    variant = read_variant(place / "model.hwb")
    for backbone in variant.backbones:
        written = place / Path(backbone.member).name
        written.with_suffix(".written").write_bytes(backbone.payload)
        plain = place / f"{backbone.precision}.tflite"
        size = len(backbone.payload) / plain.stat().st_size
        for runtime, interpreter in (("ai-edge-litert", sys.executable), ("tflite-runtime", python)):
            row = f"| {name}, {backbone.precision} | {runtime} | {len(backbone.payload):,} | {size:.3f} |"
            try:
                figures = json.loads(
                    run_module(
                        interpreter, "benchmarks.interleaved", runtime, str(place / "representative.npy"),
                        str(seconds), str(written.with_suffix(".written")), str(plain),
                    )
                )  # fmt: skip
                print(f"{row} {figures['first_us']:.1f} | {figures['ratio']:.3f} |", flush=True)
            except ChildError:
                print(f"{row} | the plain file does not run there |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
