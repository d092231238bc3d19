"""How long it takes to list and filter a registry of 10,000 devices, and what keeping it costs each message.

    python -m benchmarks.registry [--devices 10000] [--url SQLALCHEMY_URL] [--json FILE]

A store is filled through the service's own registry: every device says status, reported, metrics, a drift alarm now and
then; a third has tags. Then lists, filters and pages are asked for as `edge-fleet devices` and the API ask for them,
each in a transaction of its own, the best and the worst of `REPEATS`; and the command itself, as a process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from aggregator.effects import Instant
from aggregator.policy import Limits
from aggregator.registry import Request, list_page, put_filter_group, set_tags
from aggregator.registry.registry import Registry
from aggregator.store import sqlite_url
from aggregator.store.sql import SqlStore
from headway.maths import ClassificationSums, Task
from headway.wire import Event, Metrics, Reported, Status

BEGAN_S = 1_790_000_000.0
CLASSES = 8
BATCH = 500
REPEATS = 7
GOAL_MS = 300.0
FILTERS = {
    "all devices": Request(),
    "a page of 100, by gain": Request(sort="accuracy_gain", count_max=100),
    "learning": Request('accuracy_gain < 0 and labels > 50 and bundle == "watch 1.2"'),
    "tags and a group": Request('tag.site == "north" and not group == "losing"'),
    "silent, first 100 by silence": Request("silent_for > 2h", sort="-silent_for", count_max=100),
    "half of the fleet": Request('link == "online" and device contains "dev"'),
}


def messages(index: int, random: np.random.Generator, space: str = "5" * 64) -> Iterator[tuple[str, bytes]]:
    """What one device sends, by the name of the registry's method. space: of its bundle."""
    labels = int(random.integers(0, 300))
    version = f"1.{index % 3}"
    reported = Reported(
        "watch", version, space, "exact", "litert float32 avx2", "0.3.0", "aarch64 python 3.11.2", labels,
        "lda/source", "" if index % 10 else "camera-lost since 2026-11-28T10:00:00Z: no frame", index % 3,
    )  # fmt: skip
    yield "on_status", Status(index % 2 == 0, 1).encode()
    yield "on_reported", reported.encode()
    if labels:
        right = random.integers(0, labels + 1, 2)
        sums = [np.zeros((CLASSES, CLASSES), np.int64) for _ in right]
        for table, count in zip(sums, right, strict=True):
            table[0, 0], table[0, 1] = count, labels - count
        served, frozen = (ClassificationSums(table) for table in sums)
        yield "on_metrics", Metrics(index + 1, labels, served, frozen).encode()
    if index % 20 == 0:
        yield "on_event", Event("drift", {"detector": "adwin"}, BEGAN_S).encode()


def fill(store: SqlStore, devices: int, seed: int = 1) -> float:
    """Microseconds per message, transactions and fsyncs of `BATCH` messages included."""
    random, count = np.random.default_rng(seed), 0
    with store.transaction():
        registry = Registry(store, Limits(devices_max=devices * 4), lambda _: (CLASSES, Task.CLASSIFICATION))
    told = [(f"dev-{index:05}", *message) for index in range(devices) for message in messages(index, random)]
    began_s = time.perf_counter()
    for start in range(0, len(told), BATCH):
        now = Instant(float(start), BEGAN_S + start)
        with store.transaction():
            for device, method, payload in told[start : start + BATCH]:
                registry.received(device, len(payload) + 40)
                getattr(registry, method)(device, payload, now)
                count += 1
            registry.flush(now)
    return 1e6 * (time.perf_counter() - began_s) / count


def mark(store: SqlStore, devices: Sequence[str]) -> None:
    """Tags, and a group that is a filter."""
    with store.transaction():
        for place, site in enumerate(("north", "south")):
            set_tags(store, devices[place::6], {"site": site, "owner": "plant"}, [])
        put_filter_group(store, "losing", "accuracy_gain < 0", BEGAN_S)


def timed(action: Callable[[], int]) -> tuple[float, float, int]:
    """Best and worst of `REPEATS` in milliseconds, and what the action returned."""
    times, found = [], 0
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        found = action()
        times.append(1e3 * (time.perf_counter() - began_s))
    return min(times), max(times), found


def command(state_dir: Path, *more: str) -> int:
    words = [sys.executable, "-m", "aggregator.cli", "devices", "--state-dir", str(state_dir), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.count("\n")


def measure(devices: int, url: str, state_dir: Path) -> dict[str, object]:
    store = SqlStore(url or sqlite_url(state_dir))
    new_us = fill(store, devices)
    known_us = fill(store, devices, seed=2)
    mark(store, [f"dev-{index:05}" for index in range(devices)])
    now_s = BEGAN_S + 30_000.0

    def listed(request: Request) -> int:
        with store.transaction():
            return len(list_page(store, request, now_s).devices)

    asked = {name: timed(lambda request=request: listed(request)) for name, request in FILTERS.items()}  # type: ignore[misc]
    store.close()
    processes: dict[str, Callable[[], int]] = {} if url else {
        "edge-fleet devices": lambda: command(state_dir),
        "edge-fleet devices --json": lambda: command(state_dir, "--json"),
        "edge-fleet devices --filter (1 in 10)": lambda: command(state_dir, "--filter", FILTERS["learning"].filter),
        "edge-fleet devices --limit 50": lambda: command(state_dir, "--limit", "50", "--sort", "accuracy_gain"),
        "edge-fleet --version": command_version,
    }  # fmt: skip
    return {
        "devices": devices, "us_new": new_us, "us_known": known_us, "asked_ms": asked,
        "processes_ms": {name: timed(action) for name, action in processes.items()},
        "processor_ms": {name: processor_ms(action) for name, action in processes.items()},
    }  # fmt: skip


def processor_ms(action: Callable[[], int]) -> float:
    """The least processor time of the processes that an action starts: other work on the machine weighs less in it."""
    times = []
    for _ in range(REPEATS):
        began_s = children_s()
        action()
        times.append(children_s() - began_s)
    return 1e3 * min(times)


def children_s() -> float:
    """Processor time of all processes that this one has started and seen end, in user and system mode."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command_version() -> int:
    words = [sys.executable, "-m", "aggregator.cli", "--version"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.count("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--url", default="", help="of an empty database; SQLite in a scratch folder by default")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headway-registry-") as folder:
        found = measure(given.devices, given.url, Path(folder))
    print(f"the machine's load is {os.getloadavg()[0]:.1f}")
    print(
        f"{given.devices:,} devices; a message of a new one costs {found['us_new']:.0f} us, "
        f"of a known one {found['us_known']:.0f}"
    )
    for kind in ("asked_ms", "processes_ms"):
        for name, (best, worst, count) in found[kind].items():  # type: ignore[attr-defined]
            told = "" if kind == "processes_ms" else f"  {count:6,} devices" + ("  OVER" if best > GOAL_MS else "")
            print(f"{name:40} {best:7.1f} to {worst:7.1f} ms{told}")
    for name, least in found["processor_ms"].items():  # type: ignore[attr-defined]
        print(f"{name:40} {least:7.0f} ms of one processor")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
