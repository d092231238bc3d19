"""``make demo``: the whole loop on ten unseen wrists; see README.md for what it shows."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from demo import report, watch
from demo.fleet import DemoError, Device, Fleet
from demo.result import Result
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.arrays import Float32
from headway.bundle import read_variant
from headway.errors import HeadwayError
from headway.maths import predicted_class
from testbed.mosquitto import find_or_fetch

TABLE_WIDTH = 110

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=TABLE_WIDTH)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("demo-report"), help="folder for the report")
    parser.add_argument("--seed", type=int, default=1, help="seed of the model's training")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="headway-demo-"))
    try:
        results = _run(work, options.seed)
        seconds = time.monotonic() - started
        paths = report.write(options.report, results, seconds)
    except (DemoError, HeadwayError, subprocess.CalledProcessError) as error:
        console.print(f"[red]demo failed:[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything is stopped")
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    console.print(report.table(results))
    console.print(f"took {seconds:.0f} s after installation")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True)
    return _verdict(results)


def _run(work: Path, seed: int) -> list[Result]:
    find_or_fetch()
    _step("loading the watch data: five people train the model, ten wrists of five others are the fleet")
    training, windows, classes = watch.load()
    _step(f"training a small 1D-CNN on {len(training.x)} windows")
    _python("-m", "demo.train", str(work), "--seed", str(seed))
    bundle = work / "watch.hwb"
    _step("converting it: edge-convert watch.keras --data train.npz --out watch.hwb")
    convert = str(Path(sys.executable).parent / "edge-convert")
    arguments = [str(work / "watch.keras"), "--data", str(work / "train.npz"), "--out", str(bundle)]
    subprocess.run([convert, *arguments], check=True, stdin=subprocess.DEVNULL)
    results = {name: Result(name) for name in windows}
    _step(f"starting mosquitto, the aggregator and {len(windows)} agents")
    with Fleet(work, bundle, list(windows), _step) as fleet, report.Progress(console, results) as progress:
        _measure(fleet, windows, results, 0)
        progress.update("before any label")
        for stage in range(1, watch.LABELS_PER_CLASS + 1):
            _teach(fleet, windows, stage)
            if stage in watch.STAGES:
                _measure(fleet, windows, results, stage)
            progress.update(f"after {stage} label{'s' * (stage > 1)} per class")
        if fleet.observer.head is None:
            raise DemoError("the aggregator published no head")
        head = fleet.observer.head.head
        for row in fleet.table():
            expected = watch.LABELS_PER_CLASS * len(classes)
            if str(row["device"]) in results and row["labels"] != expected:
                raise DemoError(f"the aggregator counts {row['labels']} labels of {row['device']}, not {expected}")
        sent = fleet.observer.bytes_sent
    variant = read_variant(bundle)
    pipeline = Pipeline(variant, open_runtime(variant))
    complete = []
    for name, result in results.items():
        later = windows[name].later()
        codes = pipeline.features(later.x).codes.astype(np.float32)
        fleet_accuracy = _accuracy(head.probabilities(codes), later)
        complete.append(replace(result, fleet=fleet_accuracy, bytes_sent=sent.get(name, 0)))
    return complete


def _teach(fleet: Fleet, windows: dict[str, watch.Windows], stage: int) -> None:
    """Give every device the next labelled window of each class, and wait until all of it is aggregated."""
    name = f"labels-{stage}"
    for device in fleet.devices:
        device.feed(name, windows[device.name].round(stage), labelled=True)
    fleet.wait(f"all devices to learn round {stage}", lambda: all(d.answered(name) for d in fleet.devices))
    total = sum(int(np.sum(windows[d.name].position < stage)) for d in fleet.devices)
    fleet.wait(f"the aggregator to count {total} samples", lambda: fleet.aggregated(total))


def _measure(fleet: Fleet, windows: dict[str, watch.Windows], results: dict[str, Result], stage: int) -> None:
    """Feed the later windows without labels, and score what the agents answer."""
    name = f"later-{stage}"
    for device in fleet.devices:
        device.feed(name, windows[device.name].later(), labelled=False)
    fleet.wait(f"all devices to answer {name}", lambda: all(d.answered(name) for d in fleet.devices))
    for device in fleet.devices:
        result = results[device.name]
        score = _score(device, name, windows[device.name].later())
        _, serving = device.predictions(name)
        if stage:
            measured = replace(result, serving=serving, after=result.after | {stage: score})
        elif serving == "frozen":
            measured = replace(result, serving=serving, frozen=score)
        else:
            raise DemoError(f"{device.name} served {serving} before it saw a label")
        results[device.name] = measured


def _score(device: Device, name: str, later: watch.Windows) -> float:
    prediction, _ = device.predictions(name)
    return float((prediction == later.y).mean())


def _accuracy(probability: Float32, windows: watch.Windows) -> float:
    return float((predicted_class(probability) == windows.y).mean())


def _verdict(results: list[Result]) -> int:
    """Non-zero when learning did harm: to the fleet's mean, or to a device beyond one point of chance."""
    last = watch.STAGES[-1]
    worse = [r.name for r in results if r.after[last] < r.frozen - 0.01]
    mean_gain = float(np.mean([r.after[last] - r.frozen for r in results]))
    if worse or mean_gain < 0:
        console.print(f"[red]worse than frozen:[/] {', '.join(worse) or 'on average'} (mean gain {mean_gain:+.3f})")
        return 1
    return 0


def _python(*arguments: str) -> None:
    """Run a module of ours; TensorFlow's chatter is shown only if it fails."""
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise DemoError(f"{' '.join(arguments)} ended with exit code {result.returncode}:\n{result.stderr[-2000:]}")


def _step(text: str) -> None:
    console.print(f"[bold blue]==>[/] {text}", soft_wrap=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
