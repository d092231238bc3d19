"""Writes tests/golden/strategies/flower.json: what Flower's strategies make of fixed updates, as an oracle for ours.

make flower-vectors     runs it in an environment of its own, since Flower pins older versions of what the server needs
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).resolve().parent.parent / "tests" / "golden" / "strategies" / "flower.json"
ROUNDS, DEVICES, SHAPE, MALICIOUS = 4, 9, (3, 5), 2


def main() -> int:
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.server import strategy

    random = np.random.default_rng(20)
    start = random.normal(size=SHAPE)
    deltas = random.normal(0.1, 0.5, (ROUNDS, DEVICES, *SHAPE))
    deltas[:, -MALICIOUS:] *= -20
    samples = random.integers(5, 50, (ROUNDS, DEVICES))
    parameters = ndarrays_to_parameters([start])

    def rounds(one: Any, fresh: bool = False) -> list[Any]:
        """The weights after each round; fresh: each from the start."""
        weights, found = start, []
        for at in range(ROUNDS):
            sent = [
                (None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters([weights + delta]), int(count), {}))
                for delta, count in zip(deltas[at], samples[at], strict=True)
            ]
            made, _ = one.aggregate_fit(at + 1, sent, [])
            moved = parameters_to_ndarrays(made)[0]
            found.append(moved.tolist())
            weights = start if fresh else moved
        return found

    adaptive = {"initial_parameters": parameters, "eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
    momentum = {"initial_parameters": parameters, "server_learning_rate": 0.7, "server_momentum": 0.9}
    kept = DEVICES - MALICIOUS
    value = {
        "flwr": version("flwr"),
        "start": start.tolist(),
        "deltas": deltas.tolist(),
        "samples": samples.tolist(),
        "malicious": MALICIOUS,
        "fedavg": rounds(strategy.FedAvg()),
        "fedavgm": rounds(strategy.FedAvgM(**momentum)),
        "fedadam": rounds(strategy.FedAdam(**adaptive)),
        "fedyogi": rounds(strategy.FedYogi(**adaptive)),
        "median": rounds(strategy.FedMedian()),
        "trimmed-mean": rounds(strategy.FedTrimmedAvg(beta=0.25)),
        "krum": rounds(strategy.Krum(num_malicious_clients=MALICIOUS)),
        "multi-krum": rounds(strategy.Krum(num_malicious_clients=MALICIOUS, num_clients_to_keep=kept)),
    }
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(value) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
