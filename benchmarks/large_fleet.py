"""A server of 10,000 devices with 321 features: start, resident memory, lists and filters.

    python -m benchmarks.large_fleet [--devices 10000] [--features 321] [--retained] [--json FILE]

Real stored state is made fast: each device's report is packed once (20 different ones, named anew) and put into the
store through the publisher that counts it, so that the sums are kept as the service keeps them; only decoding is left
out. The registry's rows come from the messages of
`benchmarks.registry`. Then the real `edge-fleet serve` starts on it as a process of its own. Timed is "serving" in its
log; memory is the kernel's, `VmHWM`, once its head is published. --retained: a real mosquitto holds every report, as of
a real fleet, and memory is that after each was taken in and acknowledged again. Lists and filters are those of
`benchmarks.registry`, in a process that has the store open, and of the command itself.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from aggregator.effects import Instant
from aggregator.heads import FleetModel, Spaces
from aggregator.policy import Policy
from aggregator.registry import Request, list_page
from aggregator.registry.registry import Registry
from aggregator.store import StoredStatistics, sqlite_url
from aggregator.store.sql import SqlStore
from benchmarks.registry import BATCH, BEGAN_S, FILTERS, GOAL_MS, command, mark, messages, timed
from benchmarks.restart import CLASSES, FLEET, GOALS, named, packed_reports, retain, start
from headway.bundle import Variant
from headway_simulation.model import Model
from testbed.broker import Broker


def fill(url: str, variant: Variant, devices: int) -> float:
    """Put every device's report and what it says of itself into the store; returns seconds."""
    store, packed, random = SqlStore(url), packed_reports(variant), np.random.default_rng(1)
    began_s = time.perf_counter()
    with store.transaction():
        spaces = Spaces(FLEET, FleetModel.of(variant), Policy(), store, None)
        registry = Registry(store, Policy().limits, spaces.shape_of)
    for first in range(0, devices, BATCH):
        # places for new devices are given by the hour
        now = Instant(3600.0 * first, BEGAN_S + first)
        with store.transaction():
            for index in range(first, min(first + BATCH, devices)):
                device, (payload, tables) = f"device-{index:05d}", packed[index % len(packed)]
                registry.admit(device, now, contributes=True)
                for method, said in messages(index, random, variant.space):
                    getattr(registry, method)(device, said, now)
                row = StoredStatistics(device, 1, 1, variant.space, named(payload, device))
                spaces.default.heads.put(None, row, None, tables)
                registry.change(device, now, epoch=1, counter=1)
            registry.flush(now)
            spaces.keep()
    store.close()
    return time.perf_counter() - began_s


def listed(url: str) -> dict[str, tuple[float, float, int]]:
    """Best and worst milliseconds of each list, and how many devices are in it."""
    store, now_s = SqlStore(url), BEGAN_S + 30_000.0

    def count(request: Request) -> int:
        with store.transaction():
            return len(list_page(store, request, now_s).devices)

    found = {name: timed(lambda request=request: count(request)) for name, request in FILTERS.items()}  # type: ignore[misc]
    store.close()
    return found


def measure(folder: Path, devices: int, features: int, retained: bool) -> dict[str, object]:
    """One fleet, from an empty folder."""
    variant, url = Model(features, CLASSES).variant, sqlite_url(folder)
    variant.write(folder / "plant.hwb")
    row: dict[str, object] = {"devices": devices, "features": features, "fill_s": fill(url, variant, devices)}
    store = SqlStore(url)
    mark(store, [f"device-{index:05d}" for index in range(devices)])
    store.close()
    row["store_mb"] = sum(file.stat().st_size for file in folder.glob("aggregator.sqlite*")) / 1e6
    with Broker(autosave=1_000_000) as broker:
        if retained:
            retain(broker, variant, devices)
        config = folder / "aggregator.toml"
        config.write_text(
            f'[fleet]\nname = "{FLEET}"\n[bundle]\npath = "plant.hwb"\n[storage]\nstate_dir = "{folder}"\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        row["start"] = asdict(start(config, broker, devices if retained else 0))
    row["listed_ms"] = listed(url)
    row["commands_ms"] = {
        "edge-fleet devices --limit 50": timed(lambda: command(folder, "--limit", "50")),
        "edge-fleet devices --filter": timed(
            lambda: command(folder, "--filter", 'accuracy_gain < 0 and labels > 50 and bundle == "watch 1.2"')
        ),
    }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=321)
    parser.add_argument("--retained", action="store_true", help="a broker holds every report")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="headway-large-fleet-") as scratch:
        found = measure(Path(scratch), given.devices, given.features, given.retained)
    found["load"] = [load, os.getloadavg()[0]]
    print(json.dumps({name: value for name, value in found.items() if not name.endswith("_ms")}))
    for kind in ("listed_ms", "commands_ms"):
        for name, (best, worst, count) in found[kind].items():  # type: ignore[attr-defined]
            over = "  OVER" if best > GOAL_MS else ""
            print(f"{name:40} {best:7.1f} to {worst:7.1f} ms  {count:6,}{over}")
    print(f"goals: {GOALS}, lists and filters {GOAL_MS:g} ms")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
