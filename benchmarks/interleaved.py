"""Two files on one runtime, turn about: python -m benchmarks.interleaved ENGINE WINDOWS.npy SECONDS FILE FILE.

Stands alone (NumPy, one runtime, converter/proof/runtime_worker.py). Prints the median time of one window for both,
and the
median of their ratio over pairs of short rounds: whatever else the machine does hits both alike.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from converter.proof.runtime_worker import open_model

ROUND_S = 0.005
WARM_UP_CALLS = 20


def main(engine: str, windows: str, seconds: str, *files: str) -> None:
    x = np.load(windows)[:1]
    runs = [open_model(engine, file) for file in files]
    fastest = min(_once(run, x) for _ in range(WARM_UP_CALLS) for run in runs)
    count = max(1, int(ROUND_S / fastest))  # the same for both: a round of one call would time cold caches
    rounds: list[list[float]] = []
    end = time.perf_counter() + float(seconds)
    while time.perf_counter() < end or len(rounds) < 5:
        order = (0, 1) if len(rounds) % 2 else (1, 0)
        times = [0.0, 0.0]
        for index in order:
            start = time.perf_counter()
            for _ in range(count):
                runs[index](x)
            times[index] = (time.perf_counter() - start) / count
        rounds.append(times)
    table = np.array(rounds) * 1e6
    first, second = np.median(table, axis=0)
    print(json.dumps({"first_us": first, "second_us": second, "ratio": float(np.median(table[:, 0] / table[:, 1]))}))


def _once(run: Callable[[Any], Any], x: Any) -> float:
    start = time.perf_counter()
    run(x)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*sys.argv[1:])
