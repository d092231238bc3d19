"""The most memory that a conversion holds, beside the plain TFLite converter's: python -m benchmarks.conversion_memory.

    python -m benchmarks.conversion_memory [SHAPE ...] [--rounds N]

Sum of proportional resident memory over all processes of a command (`benchmarks.peak_memory`), every 20 ms, medians of
N. `edge-convert` and the plain converter (`benchmarks.bare_conversions`) load the same .keras file and write the same
backbones; once float32 alone, and once all four precisions. Goal: at most 1.3 times the plain converter's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.conversion_cost import BARE, CONVERT, prepare
from benchmarks.interpreters import ROOT, machine
from benchmarks.peak_memory import Peak, measured
from benchmarks.peer_exports import PRECISIONS
from converter.sources import QUIET

DEFAULT_SHAPES = ("nested backbone", "MobileNetV2 96x96", "1D-CNN BatchNorm Dropout")
CASES = {"float32": ("none", PRECISIONS[:1]), "four precisions": ("none,float16,dynamic,int8", PRECISIONS)}
GOAL = 1.3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion_memory", description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(DEFAULT_SHAPES), metavar="SHAPE")
    parser.add_argument("--rounds", type=int, default=1, help="conversions per side (default 1)")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    print(
        f"{machine()}\n\n| model | backbones | edge-convert, MB | its largest processes | plain converter, MB | ratio |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="headway-memory-") as folder:
        for name in options.shapes:
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            prepare(name, place)
            for case, (quantize, precisions) in CASES.items():
                rounds = range(options.rounds)
                ours = _median([_watched([*CONVERT, "--quantize", quantize], place) for _ in rounds])
                bare = _median([_watched([*BARE, *precisions], place) for _ in rounds])
                ratio = ours.total_mb / bare.total_mb
                worst = max(worst, ratio)
                largest = ", ".join(f"{part} {memory:.0f}" for part, memory in ours.by_process[:3])
                row = f"| {name} | {case} | {ours.total_mb:.0f} | {largest} | {bare.total_mb:.0f} |"
                print(f"{row} {ratio:.2f} |", flush=True)
    print(f"\nworst ratio {worst:.2f}, goal {GOAL}")
    return int(worst > GOAL)


def _watched(command: list[str], place: Path) -> Peak:
    peak = measured([sys.executable, *command], place, {**os.environ, "PYTHONPATH": str(ROOT)})
    if peak.exit_code:
        sys.exit(f"error: {' '.join(command)} failed: {peak.output[-1000:]}")
    return peak


def _median(peaks: list[Peak]) -> Peak:
    return sorted(peaks, key=lambda peak: peak.total_mb)[len(peaks) // 2]


if __name__ == "__main__":
    sys.exit(main())
