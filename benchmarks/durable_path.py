"""Labelled samples per second through the durable path: `python -m benchmarks.durable_path [--folder DIR]`.

    memory    predict, score, learn, gate; nothing is stored
    durable   the same, and each batch is committed (write-ahead log, synchronous=FULL) before the next
    whole     the same with the whole learner in each commit, as the simple way would do

Rounds are interleaved; medians and ratios of them. The file to be learned from is not counted: features are given.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.sd_card import Committing, WholeStore, whole
from benchmarks.stream import Stream
from edge_agent.agent import Agent
from edge_agent.store import Changes, SQLiteStore

SIZE, CLASSES = 65, 10
WARM_UP, SAMPLES, ROUNDS = 2200, 256, 7
WAYS: dict[str, Callable[[Agent], Changes] | None] = {"memory": None, "durable": Agent.changes, "whole": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure (default: the system's)")
    folder = parser.parse_args().folder
    stream = Stream(SIZE, CLASSES)
    print(f"d = {SIZE}, {CLASSES} classes; samples/s, median of {ROUNDS} rounds of {SAMPLES}")
    print(
        f"{'samples/commit':<16}"
        + "".join(f"{way:>10}" for way in WAYS)
        + f"{'durable/memory':>16}{'durable/whole':>15}"
    )
    for rows in (1, 16, 64):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            rates = measure(stream, Path(place), rows)
        cells = "".join(f"{rates[way]:>10.0f}" for way in WAYS)
        print(f"{rows:<16}{cells}{rates['durable'] / rates['memory']:>16.2f}{rates['durable'] / rates['whole']:>15.1f}")


def measure(stream: Stream, folder: Path, rows: int) -> dict[str, float]:
    """Samples/s of each way."""
    agents = {way: stream.agent() for way in WAYS}
    stores: dict[str, Committing] = {
        "durable": SQLiteStore(folder / "durable.sqlite"),
        "whole": WholeStore(folder / "whole.sqlite"),
    }
    x, y = stream.windows(WARM_UP + ROUNDS * SAMPLES, seed=2, drift=True)
    features = stream.features(x)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for way, agent in agents.items():
        agent.process(features.rows(0, WARM_UP), y[:WARM_UP])
        commit(WAYS[way], agent, stores.get(way))
    for start in range(WARM_UP, len(y), SAMPLES):
        for way, agent in agents.items():
            began = time.perf_counter()
            for at in range(start, start + SAMPLES, rows):
                agent.process(features.rows(at, at + rows), y[at : at + rows])
                commit(WAYS[way], agent, stores.get(way))
            rates[way].append(SAMPLES / (time.perf_counter() - began))
    return {way: statistics.median(found) for way, found in rates.items()}


def commit(changes: Callable[[Agent], Changes] | None, agent: Agent, store: Committing | None) -> None:
    if changes is not None and store is not None:
        store.commit(changes(agent))


if __name__ == "__main__":
    main()
