"""Bytes that a sync of the exact learner sends: `python -m benchmarks.uplink [--data DIR] [--bundle watch.hwb]`.

The whole `statistics` message, of real samples, for features as a converter makes them: 64 of a source and the
constant, or 64 and 256 random ReLU features of the input; int8, calibrated on the source. Beside it in the same run, of
the same tables: the packing of release 0.2 (`0.2`), plain packing (narrowest integers in byte planes, zlib), and the
raw int64 triangle. `+10` and `+50`: the message when so many samples were learned since an acknowledged report; `-`
where whole tables are short and go again. `write` and `read`: milliseconds of CPU, reading with all its checks.

    digits    scikit-learn's handwritten digits, 10 classes; calibrated on the first 600
    gas       Gas Sensor Array Drift (Vergara et al. 2012), batch 1 calibrates, batches 2 to 6 are learned; 6 classes
    watch     with `--bundle`: the demo's model and the windows of its ten wrists (Burns et al. 2018), 7 classes,
              through the bundle's own backbone and feature map
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from edge_agent.config import SyncSettings
from headway.arrays import Float32, Int8, Int64, keep_freed_memory
from headway.maths import FeatureMap, Statistics, calibrate_scale
from headway.wire import StatisticsChange, StatisticsReport, change_between

COUNTS = (64, 300, 1000, 5000)
REPETITIONS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("HEADWAY_DATA"), help="folder with gas_drift_b1-6.npz"
    )
    parser.add_argument("--bundle", type=Path, help="a bundle converted from the demo's model")
    options = parser.parse_args()
    # as the aggregator has it, which is who reads
    keep_freed_memory()
    columns = f"{'data':<8}{'d':>6}{'samples':>9}{'int64':>9}"
    for packing in ("now", "0.2", "plain", "+10", "+50"):
        columns += f"{packing:>10}{'write':>8}{'read':>6}"
    print(columns)
    sources = [("digits", *digits())]
    if options.data is not None:
        sources.append(("gas", *gas(Path(options.data) / "gas_drift_b1-6.npz")))
    for name, calibration, x, y in sources:
        for wide in (False, True):
            source, features_of_x = features(calibration, x, wide)
            report(name, FeatureMap(source.shape[1], calibrate_scale(source)).codes(features_of_x)[0], y)
    if options.bundle is not None:
        report("watch", *watch(options.bundle))


def report(name: str, codes: Int8, y: Int64) -> None:
    classes = tuple(f"class-{index}" for index in range(int(y.max()) + 1))
    for count in (n for n in COUNTS if n <= len(y)):
        table = Statistics.of(codes[:count], y[:count], classes, "f" * 64)
        whole = StatisticsReport("device-1", 1, count, table)
        raw = 8 * ((table.size + 1) * (table.size + 2) // 2 + (table.size + 1) * len(classes))
        line = f"{name:<8}{table.size + 1:>6}{count:>9}{raw:>9}"
        line += measured(whole.encode, StatisticsReport.decode)
        line += measured(partial(whole.encode, predict=True), StatisticsReport.decode)
        line += measured(partial(whole.encode, packed=False), StatisticsReport.decode_stored)
        for number in (10, 50):
            change = changed(table, codes[:count], y[:count], classes, number)
            # whole tables that are short go again
            line += f"{'-':>10}{'':>14}" if change is None else measured(change.encode, StatisticsChange.decode)
        print(line)


def measured(write: Callable[[], bytes], read: Callable[[bytes], object]) -> str:
    """Bytes, and the milliseconds of CPU that writing and reading takes, the least of five."""
    payload = write()
    times = []
    for work in (write, partial(read, payload)):
        taken = []
        for _ in range(REPETITIONS):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
        times.append(1e3 * min(taken))
    return f"{len(payload):>10}{times[0]:>8.1f}{times[1]:>6.1f}"


def changed(table: Statistics, codes: Int8, y: Int64, classes: tuple[str, ...], number: int) -> StatisticsChange | None:
    """What tells of the newest `number` samples of a table; None where whole tables are short enough to go again."""
    older = Statistics.of(codes[:-number], y[:-number], classes, table.space)
    base, newest = (StatisticsReport("device-1", 1, len(y) - n, t) for n, t in ((number, older), (0, table)))
    if len(base.encode()) <= SyncSettings().whole_bytes_max:
        return None
    change = change_between(base, newest)
    if change is None:
        raise AssertionError("samples were added, so there is a change")
    return change


def features(calibration: Float32, x: Float32, wide: bool) -> tuple[Float32, Float32]:
    """64 linear mixtures of the standardised input through a ReLU, and 256 more when wide."""
    random = np.random.default_rng(0)
    mean, spread = calibration.mean(axis=0), calibration.std(axis=0) + 1e-6
    width = 320 if wide else 64
    weights = random.normal(0, 1 / np.sqrt(x.shape[1]), (x.shape[1], width))
    bias = random.normal(0, 0.5, width)

    def made(values: Float32) -> Float32:
        standard = np.clip((values - mean) / spread, -10, 10)
        return np.asarray(np.maximum(standard @ weights + bias, 0), np.float32)

    return made(calibration), made(x)


def digits() -> tuple[Float32, Float32, Int64]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x[:600].astype(np.float32), x[600:].astype(np.float32), y[600:].astype(np.int64)


def gas(path: Path) -> tuple[Float32, Float32, Int64]:
    with np.load(path) as data:
        x, y, batch = data["X"], data["y"].astype(np.int64), data["batch"]
    return x[batch == 1], x[batch > 1], y[batch > 1]


def watch(bundle: Path) -> tuple[Int8, Int64]:
    """The wrists' windows in an order of their own: a device hears of one class after another, the table does not."""
    from demo.watch import load
    from edge_agent.pipeline import Pipeline
    from edge_agent.runtime import open_runtime
    from headway.bundle import read_variant

    variant = read_variant(bundle)
    _, wrists, _ = load()
    x, y = (np.concatenate([getattr(windows, name) for windows in wrists.values()]) for name in ("x", "y"))
    order = np.random.default_rng(0).permutation(len(y))
    codes = Pipeline(variant, open_runtime(variant)).features(x[order]).codes
    return codes, y[order].astype(np.int64)


if __name__ == "__main__":
    main()
