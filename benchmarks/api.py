"""How long the API takes to list and filter a fleet of 10,000 devices, and what its process costs.

    python -m benchmarks.api [--devices 10000] [--json FILE]

`edge-fleet api` runs as a process of its own on a store that the service's registry has filled (`benchmarks.registry`),
and is asked over TCP by `headway_client`, the best and the worst of seven, and the 95th percentile of a page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.access import Role
from aggregator.operations import Operator, create_token, put_user
from aggregator.store import sqlite_url
from aggregator.store.sql import SqlStore
from benchmarks.registry import GOAL_MS, fill, mark, timed
from headway.ports import SystemClock
from headway_client import Client
from testbed.broker import free_port

LEARNING = 'accuracy_gain < 0 and labels > 50 and bundle == "watch 1.2"'
PAGE_MAX = 1000
OFTEN = 200


def prepared(folder: Path, devices: int) -> tuple[Path, str]:
    """A configuration, and a token of a viewer."""
    store = SqlStore(sqlite_url(folder))
    fill(store, devices)
    mark(store, [f"dev-{index:05}" for index in range(devices)])
    with store.transaction():
        operator = Operator.local(store, SystemClock())
        put_user(operator, "bench", Role.VIEWER, None)
        token = create_token(operator, "bench", "", None, 86_400.0).token
    store.close()
    config = folder / "aggregator.toml"
    config.write_text(
        f'fleet.name = "plant"\nbundle.path = "model.hwb"\nstorage.state_dir = "."\nmqtt.host = "localhost"\n'
        f"[api]\nport = {free_port()}\nrequests_per_minute = 1000000\nrequests_per_address_minute = 1000000\n"
    )
    return config, token


@contextmanager
def running(config: Path) -> Iterator[tuple[str, float, int]]:
    """Address, seconds until it answered, and process number of the API."""
    began_s = time.perf_counter()
    words = [sys.executable, "-m", "aggregator.cli", "api", "--config", str(config)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        yield url, time.perf_counter() - began_s, process.pid
    finally:
        process.terminate()
        process.wait(20)


def everything(client: Client) -> int:
    """The whole fleet, page by page."""
    count, after = 0, ""
    while True:
        page = client.list_devices(limit=PAGE_MAX, after=after)
        count, after = count + len(page["devices"]), page["next"]
        if not after:
            return count


def resident_mb(pid: int) -> float:
    """Memory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def measure(folder: Path, devices: int) -> dict[str, object]:
    config, token = prepared(folder, devices)
    with running(config) as (url, start_s, pid):
        client = Client(url, token)
        began_mb = resident_mb(pid)
        asked = {
            "a page of 100": timed(lambda: len(client.list_devices(limit=100)["devices"])),
            "a page of 100, by gain": timed(lambda: len(client.list_devices(sort="accuracy_gain")["devices"])),
            "a page of 1,000": timed(lambda: len(client.list_devices(limit=PAGE_MAX)["devices"])),
            "learning, first 100": timed(lambda: len(client.list_devices(filter=LEARNING)["devices"])),
            "learning, first 1,000": timed(
                lambda: len(client.list_devices(filter=LEARNING, limit=PAGE_MAX)["devices"])
            ),
            "one device": timed(lambda: len([client.show_device("dev-00000")])),
            "health, without a token": timed(lambda: len(client.check_health())),
        }
        p95_ms = percentile_ms(lambda: len(client.list_devices(limit=100)["devices"]))
        whole = timed(lambda: everything(client))
        return {
            "start_s": start_s, "began_mb": began_mb, "ended_mb": resident_mb(pid), "asked_ms": asked,
            "p95_ms": p95_ms, "all": whole, "load": os.getloadavg()[0],
        }  # fmt: skip


def percentile_ms(action: Callable[[], int]) -> float:
    """The 95th percentile of `OFTEN`, in milliseconds."""
    times = []
    for _ in range(OFTEN):
        began_s = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - began_s))
    return sorted(times)[int(0.95 * OFTEN)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headway-api-") as folder:
        found = measure(Path(folder), given.devices)
    print(f"answers {found['start_s']:.1f} s after its start; {found['began_mb']:.0f} MB, then {found['ended_mb']:.0f}")
    for name, (best, worst, count) in found["asked_ms"].items():  # type: ignore[attr-defined]
        print(f"{name:30} {best:7.1f} to {worst:7.1f} ms  {count:6,}{'  OVER' if best > GOAL_MS else ''}")
    print(f"{'a page of 100, p95':30} {found['p95_ms']:7.1f} ms of {OFTEN}; the machine's load is {found['load']:.1f}")
    best, worst, count = found["all"]  # type: ignore[misc]
    print(f"{'all, in pages of 1,000':30} {best:7.1f} to {worst:7.1f} ms  {count:6,}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
