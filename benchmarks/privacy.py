"""What noise on a fleet's head costs in accuracy: python -m benchmarks.privacy [--data FOLDER] [--seeds N].

Fleets of ten, a hundred and a thousand devices with `LABELS` labels each, drawn with replacement from the windows of
`benchmarks.attacked_fleets` (digits, watch, gas), so that all sizes have the same people and sensors. Accuracy in per
cent on windows that nobody learned, of the last head that a budget pays for: `HEADS` heads share epsilon at delta 1e-6.
The head of the training data alone stands beside it: what the fleet would have without any label.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

import numpy as np

from aggregator.heads.noise import believed, noisy
from benchmarks.attacked_fleets import AttackedFleet, Labelled, digits, gas_sensors, wrists
from headway.maths import Statistics, fleet_head

LABELS, HEADS, DELTA = 20, (1, 30), 1e-6
SIZES, EPSILONS = (10, 100, 1000), (1.0, 3.0, 10.0)
REACHES = {"label": 1, "device": LABELS}
DRAWS = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="with gas_drift_b1-6.npz")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fleets", default="digits,watch,gas")
    options = parser.parse_args()
    print(
        f"load {os.getloadavg()[0]:.1f}; {LABELS} labels a device; {options.seeds} seeds, {DRAWS} draws of noise each"
    )
    for name in options.fleets.split(","):
        if name == "gas" and options.data is None:
            continue
        found: dict[str, list[float]] = {}
        for seed in range(options.seeds):
            base = fleet_of(name, options.data, seed)
            for size in SIZES:
                for key, accuracy in measured(base, size, seed).items():
                    found.setdefault(f"{size} {key}", []).append(accuracy)
        for key, values in found.items():
            print(json.dumps({"fleet": name, "what": key, "accuracy": round(float(np.mean(values)), 2)}), flush=True)
    return 0


def fleet_of(name: str, data: Path | None, seed: int) -> AttackedFleet:
    """The windows to draw from."""
    if name == "gas":
        if data is None:
            raise SystemExit("gas needs --data")
        return gas_sensors(data, 10, seed)
    return digits(10, seed) if name == "digits" else wrists(10, seed)


def measured(base: AttackedFleet, size: int, seed: int) -> dict[str, float]:
    """Accuracy by what is published."""
    random = np.random.default_rng((seed, size))
    parts = [drawn(base.devices[number % len(base.devices)], random) for number in range(size)]
    source = base.source
    every = Labelled(np.concatenate([part.codes for part in parts]), np.concatenate([part.labels for part in parts]))
    tables = base.tables(every)
    nothing = Statistics.zeros(source.size, source.classes, source.space)
    found = {
        "training data alone": base.accuracy(fleet_head(source, nothing)),
        "without noise": base.accuracy(fleet_head(source, tables)),
    }
    sums = tables.class_sums.astype(np.float64)
    for unit, reach in REACHES.items():
        for heads in HEADS:
            for epsilon in EPSILONS:
                z = multiplier(epsilon, heads)
                scores = []
                for _ in range(DRAWS):
                    told = believed(noisy(sums, z, reach, random.standard_normal), source, z, reach)
                    scores.append(base.accuracy(fleet_head(source, told)))
                found[f"{unit} epsilon {epsilon:g} heads {heads}"] = float(np.mean(scores))
    return found


def drawn(rows: Labelled, random: np.random.Generator) -> Labelled:
    """The labels of one device."""
    return rows[random.integers(0, len(rows), LABELS)]


def multiplier(epsilon: float, heads: int) -> float:
    """Of the noise with which so many heads spend epsilon."""
    import dp_accounting

    return float(dp_accounting.get_sigma_gaussian(epsilon, DELTA)) * math.sqrt(heads)


if __name__ == "__main__":
    sys.exit(main())
