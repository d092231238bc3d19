"""From a file dropped into the spool to its answer, while the agent learns and while it does not.

    python -m benchmarks.latency [--runs N] [--files N] [--rate R] [--priority P]

Real ``edge-agent run`` processes without a broker, on a bundle of the 1D-CNN (64 features and the bias), at the default
poll interval. A file of one window is renamed into the spool every 1 / rate seconds, give or take a third; the time
runs from the rename to the answer's name in the folder of predictions. One run answers only; the other, interleaved
with it, gets a label with one file in three, and learns it. Medians over the runs of each run's percentiles; ms. Above
them each run's own, and how busy the machine was: of a run whose load is not below 1 nothing follows, unless --priority
(root) puts agent and benchmark before all others (SCHED_FIFO), as an agent is that shares its device with nobody.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.agents import ready_agent
from benchmarks.interpreters import machine
from benchmarks.models import SHAPES, trained
from converter import Options, convert
from converter.sources import QUIET
from headway.arrays import AnyArray

SHAPE = "1D-CNN BatchNorm Dropout"
LOOK_S, ANSWER_TIMEOUT_S = 0.0005, 60.0
LABELLED_EVERY = 3
PERCENTILES = (50, 95, 99)
KINDS = {False: "answers", True: "answers and learns"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default 5)")
    parser.add_argument("--files", type=int, default=120, help="files of one run (default 120)")
    parser.add_argument("--rate", type=float, default=3.0, help="files per second (default 3)")
    parser.add_argument("--priority", type=int, help="real-time priority, 1 to 99 (default none)")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(prefix="headway-latency-") as name:
        folder = Path(name)
        model, x, y = trained(SHAPES[SHAPE])
        convert(model, (x, y, SHAPES[SHAPE].class_names), Options(formats=("tflite",)), out=folder / "watch.hwb")
        windows, labels = SHAPES[SHAPE].draw(options.files, 5)
        found: dict[bool, list[AnyArray]] = {False: [], True: []}
        if options.priority is not None:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(options.priority))  # which the agents inherit
        for _ in range(options.runs):
            for learning in found:
                times_ms = _run(folder, windows, labels if learning else None, options.rate)
                found[learning].append(np.percentile(times_ms, PERCENTILES))
                own = zip(PERCENTILES, found[learning][-1], strict=True)
                said = ", ".join(f"p{percentile} {figure:.2f}" for percentile, figure in own)
                print(f"{KINDS[learning]:<20}{said}, load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"\n{machine()}; {options.runs} runs of {options.files} files, {options.rate:g} files/s, ms\n")
    print("| | " + " | ".join(f"p{percentile}" for percentile in PERCENTILES) + " |\n| --- | --- | --- | --- |")
    answering, both = (np.median(found[learning], axis=0) for learning in (False, True))
    for what, figures in ((KINDS[False], answering), (KINDS[True], both), ("ratio", both / answering)):
        print(f"| {what} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    return 0


def _run(folder: Path, windows: AnyArray, labels: AnyArray | None, rate: float) -> AnyArray:
    """Milliseconds from drop to answer, float64 (n,)."""
    random = np.random.default_rng(1)
    times_ms = []
    with tempfile.TemporaryDirectory(dir=folder) as place, ready_agent(Path(place), folder / "watch.hwb"):
        home = Path(place)
        for number, window in enumerate(windows):
            content = {"x": window[None]}
            if labels is not None and number % LABELLED_EVERY == 0:
                content["y"] = labels[number : number + 1]
            np.savez(home / "waiting.npz", **content)
            time.sleep((1 + random.uniform(-1, 1) / 3) / rate)
            began_s = time.perf_counter()
            (home / "waiting.npz").rename(home / "spool" / f"{number}.npz")
            answer = home / "predictions" / f"{number}.npz"
            while not answer.exists():
                if time.perf_counter() > began_s + ANSWER_TIMEOUT_S:
                    raise SystemExit(f"error: no answer to file {number} within {ANSWER_TIMEOUT_S:.0f} s")
                time.sleep(LOOK_S)
            times_ms.append((time.perf_counter() - began_s) * 1e3)
    return np.array(times_ms)


if __name__ == "__main__":
    sys.exit(main())
