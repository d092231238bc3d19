"""One round over N updates of 12,810 weights, time and memory, and the robust step alone: ours beside Flower's.

    python -m benchmarks.average_rounds [--updates 100 1000 10000] [--flower PYTHON] [--repeats 3] [--json FILE]

Ours is the aggregator as it ships. Updates of new devices come as messages, are checked, stored durably in SQLite and
added to a sum: "taking one in" is the processor time of all that. The round goes from the last of them to the message
that publishes the head: `fedavg` without a robust rule, which is what Flower's FedAvg does (and shortens the longest
quarter, which Flower's does not), and `aligned`, the default, of at most 2,000 devices. "Made durable" comes on top:
the head is stored, the updates are deleted, the transaction ends. "Put off" is what moving the pages of all these
updates and of the round from SQLite's log into the database takes at most, which the service does while nobody waits
(docs/adr/0108). It moves those of several rounds together: the mean of twenty rounds of 100, one after the other, has
its share of that in "processor", and what makes it durable. After a restart the sum is gone: a service reads what waits
again, 50 ms of it in a second ("taking one in"), and a round that comes at once reads all of it; both have the deletion
in them.

Flower's is `FedAvg` of both its strategy trees (`flwr.server.strategy`, `flwr.serverapp.strategy`): taking one in is
from the bytes of the message to what the server holds in memory, the round from there to the new parameters.

Every measurement is a process of its own, with a round of twenty before it but after a restart; they take turns. Time
is of the processor; memory is by how much the process grew at its peak, its updates included. `make flower-vectors`
makes the environment with Flower in it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FLOWER = ROOT / ".cache" / "flower" / "bin" / "python"
ROBUST_UPDATES = 1000

# our rounds over what has just come, by precision and robust rule
LIVE = {
    "ours, fedavg": ("float32", "none"),
    "ours, fedavg, int8": ("int8", "none"),
    "ours, aligned": ("float32", "aligned"),
}
# over what waited before a restart, and whether it was read again before the round
AFTER_RESTART = {"ours, fedavg, read again after a restart": "first", "ours, fedavg, at once after a restart": "never"}
# rounds of this many updates are also measured one after the other, with their share of what is put off
EACH_AFTER_THE_OTHER = {"ours, fedavg, mean of rounds one after the other": 100}
# stands for a new folder of each run
LIVE_FOLDER = "@"

Figures = dict[str, float]


def child(python: str, *arguments: str) -> Figures:
    """What `benchmarks.round_peers` prints; its words are in the error if it fails."""
    command = [python, "-m", "benchmarks.round_peers", *arguments]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {ran.stderr[-2000:]}")
    found: Figures = json.loads(ran.stdout.splitlines()[-1])
    return found


def rounds(updates: int, flower: str, repeats: int, folder: Path) -> dict[str, Figures]:
    """Medians of each kind of round, by its name."""
    stored = folder / "stored"
    stored.mkdir()
    child(sys.executable, "fill", str(stored), str(updates), "float32")
    kinds: dict[str, tuple[str, ...]] = {
        name: (sys.executable, "live", LIVE_FOLDER, str(updates), *kind) for name, kind in LIVE.items()
    }
    for name, count in EACH_AFTER_THE_OTHER.items():
        if updates == count:
            kinds[name] = (sys.executable, "again", LIVE_FOLDER, str(count))
    for name, read in AFTER_RESTART.items():
        kinds[name] = (sys.executable, "close", str(stored), "fedavg", "none", read)
    if flower:
        kinds["Flower, server tree"] = (flower, "flower", str(updates), "server")
        kinds["Flower, serverapp tree"] = (flower, "flower", str(updates), "app")
    measured: dict[str, list[Figures]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, (python, *arguments) in kinds.items():
            with tempfile.TemporaryDirectory(dir=folder) as fresh:
                given = [fresh if one == LIVE_FOLDER else one for one in arguments]
                measured[name].append(child(python, *given))
    return {name: median_of(each) for name, each in measured.items()}


def median_of(figures: Sequence[Figures]) -> Figures:
    """Of each name."""
    return {name: statistics.median(each[name] for each in figures) for name in figures[0]}


def table(found: Mapping[str, Figures]) -> list[str]:
    """Rows of Markdown."""
    lines = [
        "| round | processor, s | seconds | grown, MB | made durable, s | put off, s | taking one in, ms | bytes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in found.items():
        size = f"{each['bytes']:,.0f}" if "bytes" in each else ""
        intake = f"{each['intake_ms']:.3f}" if "intake_ms" in each else ""
        times = f"{each['processor_s']:.4f} | {each['seconds']:.3f}"
        clearing = f"{each['clearing_s']:.4f}" if "clearing_s" in each else ""
        later = f"{each['later_s']:.4f}" if "later_s" in each else ""
        lines.append(f"| {name} | {times} | {each['grown_mb']:.1f} | {clearing} | {later} | {intake} | {size} |")
    return lines


def robust_steps(flower: str) -> dict[str, Figures]:
    """Processor seconds of each rule, by peer."""
    found = {peer: child(sys.executable, "robust", peer, str(ROBUST_UPDATES)) for peer in ("ours", "numpy")}
    if flower:
        found["flower"] = child(flower, "robust", "flower", str(ROBUST_UPDATES))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--flower", default=str(DEFAULT_FLOWER) if DEFAULT_FLOWER.exists() else "")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    everything: dict[str, object] = {"load": os.getloadavg()[0]}
    for updates in given.updates:
        with tempfile.TemporaryDirectory() as scratch:
            found = rounds(updates, given.flower, given.repeats, Path(scratch))
        everything[str(updates)] = found
        print(f"\n{updates:,} updates, load {os.getloadavg()[0]:.1f}\n", *table(found), sep="\n", flush=True)
    steps = robust_steps(given.flower)
    everything["robust"] = steps
    print(f"\nrobust step, {ROBUST_UPDATES:,} updates of 12,810 weights, processor seconds\n")
    for peer, each in steps.items():
        print(f"{peer:8}", *(f"{name} {seconds:.3f}" for name, seconds in each.items()), sep="  ")
    if given.flower == "":
        print("Flower is missing: make flower-vectors")
    if given.json is not None:
        given.json.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    main()
