"""What becomes of the models that people have: python -m benchmarks.sources [--only TEXT].

Builds each model of `benchmarks.source_models` small, runs the command ``edge-convert`` on its file in a process, and
opens the bundle as a device does. What was converted is compared with its source: the largest difference between the
device's probabilities and the source's, on windows that were not in the data, and on unusual ones (zeros, constants and
spikes up to 1,000 times the range). What was refused is shown with its line. Ends with exit code 1 where an outcome is
not the expected one, or a difference is larger than 1e-4 (1e-3 where the source computes in float16; 2e-3 on unusual
windows).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.interpreters import ROOT, machine
from benchmarks.source_models import Case, Given, cases
from converter.proof.unusual import unusual_windows
from converter.sources import QUIET
from headway.arrays import AnyArray, Float32

ROWS = 60
UNUSUAL_MAX = 2e-3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources", description=__doc__)
    parser.add_argument("--only", default="", help="sources whose name or form holds this text")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    print(
        f"{machine()}\n\n| source | form | outcome | held out | unusual |\n| --- | --- | --- | --- | --- |", flush=True
    )
    wrong, count = [], 0
    for case in cases():
        if options.only not in f"{case.name} {case.form}":
            continue
        count += 1
        with tempfile.TemporaryDirectory(prefix="headway-sources-") as folder:
            right, cells = _outcome(case, Path(folder))
        print(f"| {case.name} | {case.form} | {cells} |", flush=True)
        if not right:
            wrong.append(case.name)
    print(f"\n{count} sources, {len(wrong)} not as expected{': ' if wrong else ''}{', '.join(wrong)}")
    return int(bool(wrong))


def _outcome(case: Case, folder: Path) -> tuple[bool, str]:
    """Whether it is as expected, and the last three cells of the row."""
    given = case.build(folder)
    random = np.random.default_rng(0)
    x, held = (random.normal(size=(ROWS, *given.shape)).astype(np.float32) for _ in range(2))
    classes = max(given.outputs, 2) if given.outputs < 8 else 3
    y = np.arange(ROWS) % classes if case.refused else _labels(given, x, classes)
    np.savez(folder / "train.npz", x=x, y=y, classes=np.array([f"class-{index}" for index in range(classes)]))
    command = [sys.executable, "-m", "converter.cli", given.path.name, "--data", "train.npz", "--out", "m.hwb"]
    done = subprocess.run(
        [*command, *case.options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    said = done.stderr.strip().removeprefix("error: ")
    if done.returncode:
        one_line = "\n" not in said and "Traceback" not in said and not (folder / "m.hwb").exists()
        return case.refused and one_line, f"refused ({done.returncode}): {said.replace('|', '/')} | | "
    own, unusual = _difference(folder, given, held), _difference(folder, given, unusual_windows(x)[0])
    right = not case.refused and own <= case.difference_max and unusual <= UNUSUAL_MAX
    return right, f"converted | {own:.1e} | {unusual:.1e}"


def _labels(given: Given, x: Float32, classes: int) -> AnyArray:
    """What the source itself answers; in turn where it always answers the same."""
    outputs = _both(np.asarray(given.run(x)), given)
    answered = outputs.argmax(axis=1)
    return answered if len(set(answered.tolist())) > 1 else np.arange(len(x)) % classes


def _both(outputs: AnyArray, given: Given) -> AnyArray:
    outputs = outputs.reshape(len(outputs), -1)
    return np.concatenate([1 - outputs, outputs], axis=1) if given.outputs == 1 else outputs


def _difference(folder: Path, given: Given, x: Float32) -> float:
    """The largest between what a device serves and what the source gives where that is finite."""
    from edge_agent import Learner

    expected = _both(np.asarray(given.run(x), np.float64), given)
    finite = np.isfinite(expected).all(axis=1)
    expected = expected[finite]
    served = Learner.open(folder / "m.hwb").predict_proba(x[finite])
    if given.outputs > 1 and ((expected < 0).any() or (expected > 1).any()):  # logits
        expected = np.exp(expected - expected.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
    return float(np.abs(served - expected).max())


if __name__ == "__main__":
    sys.exit(main())
