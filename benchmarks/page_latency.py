"""How long the page's first byte takes with a large fleet, viewers who look, and reports that come in.

    python -m benchmarks.page_latency [--devices 10000] [--viewers 20] [--reports 200] [--seconds 120] [--json FILE]

`edge-fleet api` runs as a process of its own on a fleet of `testbed.shown_fleet`: 2,000 devices ask for labels, a
rollout has reached every device, a bundle is ordered for all, and the audit log has 5,000 entries. First every place is
asked for alone, for the processor time that it takes. Then another process writes reports into the same database as the
service does: through its registry, the reports of a turn in one durable transaction. Meanwhile each viewer follows the
news and asks every few seconds for one of all places of the page, drawn alike. Measured is the time from asking to the
first byte of the answer. --store FOLDER keeps the fleet, whose writing takes a minute, for the next run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from aggregator.access import Role
from aggregator.audit import record
from aggregator.effects import Instant
from aggregator.operations import Operator, create_token, kept_bundles, order_bundle, put_user
from aggregator.policy import Limits
from aggregator.registry.registry import Registry
from aggregator.store import StoredStatistics, sqlite_url
from aggregator.store.rows import ROLLOUT_DEVICES, SPACES, TRIALS, RolloutDeviceRow, TrialRow
from aggregator.store.sql import SqlStore
from benchmarks.api import resident_mb, running
from headway.maths import ClassificationSums, Task
from headway.ports import SystemClock
from headway.wire import Metrics, Reported, TrialReport
from testbed.broker import free_port
from testbed.shown_fleet import CLASSES, fill
from testbed.shown_inbox import fill_inbox
from testbed.shown_steering import fill_steering

GOAL_MS = 300.0
TURN_S = 0.1
REPORT_BYTES = 4096
# how often a viewer asks for something; open pages refresh their list every five seconds
ASKS_EVERY_S = 2.5
FLEET = "plant"
# every place of the page, as `tests/page/test_acts.py` knows them; {device}, {space}: filled in
ASKED = {
    "first page": "/",
    "a filter": "/?filter=" + quote('accuracy_gain < 0 and tag.site == "north"'),
    "another order": "/?sort=-silent_for",
    "drifting": "/?filter=" + quote("since_drift < 1d"),
    "the list alone": "/fleet/devices",
    "bars by head": "/?cells=heads",
    "a device": "/devices/{device}",
    "its states": "/devices/{device}/parts/states",
    "its windows": "/devices/{device}/parts/windows",
    "its commands": "/devices/{device}/parts/commands",
    "its events": "/devices/{device}/parts/events",
    "heads": "/heads",
    "heads alone": "/heads/list",
    "influence": "/heads/influence",
    "two compared": "/heads/compare?a=43&b=49&space={space}",
    "to forget": "/heads/forget?device={device}",
    "the inbox": "/inbox",
    "its list alone": "/inbox/items",
    "its window": "/inbox/window",
    "rollouts": "/rollouts",
    "a rollout": "/rollouts/autumn",
    "its progress": "/rollouts/autumn/now",
    "a new rollout": "/rollouts/new",
    "users, tokens": "/settings",
    "alerts": "/settings/alerts",
    "open alerts": "/settings/alerts/open",
    "join codes": "/settings/join",
    "groups": "/settings/groups",
    "audit": "/settings/audit",
    "audit checked": "/settings/audit?check=true",
}
ALONE_TIMES = 20
AUDIT_ENTRIES = 5000


def prepared(folder: Path, devices: int) -> tuple[Path, str, dict[str, list[str]]]:
    """A configuration, the cookie of a viewer, and what fills in paths of `ASKED`."""
    store = SqlStore(sqlite_url(folder))
    with store.reading():
        known = store.device_count()
    if not known:
        fill_everything(store, folder, devices)
    with store.transaction():
        names = [row.device for row in store.devices()]
        spaces = [row.space for row in store.rows(SPACES).all()]
        operator = Operator.local(store, SystemClock())
        put_user(operator, "bench", Role.VIEWER, None)
        token = create_token(operator, "bench", "page", None, 86_400.0).token
    store.close()
    config = folder / "aggregator.toml"
    config.write_text(
        f'fleet.name = "{FLEET}"\nbundle.path = "model.hwb"\nstorage.state_dir = "."\nmqtt.host = "localhost"\n'
        f"[api]\nport = {free_port()}\nrequests_per_minute = 1000000\nrequests_per_address_minute = 1000000\n"
    )
    return config, f"headway-{FLEET}-session={token}", {"device": names, "space": spaces[:1]}


def fill_everything(store: SqlStore, folder: Path, devices: int) -> None:
    now_s = SystemClock().wall_s()
    names = fill(store, devices, now_s)
    fill_inbox(store, names, now_s)
    fill_steering(store, folder, folder / "model.hwb", names, now_s)
    newest = kept_bundles(folder, now_s)[0]
    with store.transaction():
        order_bundle(Operator.local(store, SystemClock()), newest, [], everybody=True)
        trial = store.rows(TRIALS).get(names[len(names) // 8])
        assert trial is not None
        there = {row.device for row in store.rows(ROLLOUT_DEVICES).all("autumn")}
        rest = [name for name in names if name not in there]
        store.rows(ROLLOUT_DEVICES).put_all(
            [RolloutDeviceRow("autumn", name, 2, "trying", "", now_s - 60) for name in rest]
        )
        store.rows(TRIALS).put_all([_trial(name, trial.payload, at) for at, name in enumerate(rest)])
        for number in range(AUDIT_ENTRIES):
            record(store, "user:olga", "tag", names[number % len(names)], now_s, site="north")


def _trial(name: str, payload: bytes, number: int) -> TrialRow:
    """Every device tells other sums."""
    report = TrialReport.decode(payload)
    sums = replace(report.frozen, total=report.frozen.total - number % 1000)
    return TrialRow(name, replace(report, counter=4 + number, frozen=sums).encode(), 0.0)


def write_reports(folder: Path, per_second: int, seconds: float) -> None:
    """What the service does with reports: all of a turn in one transaction. Prints how many it wrote in which time."""
    store, clock = SqlStore(sqlite_url(folder)), SystemClock()
    limits = Limits()
    with store.transaction():
        names = [row.device for row in store.devices()]
        space = store.rows(SPACES).all()[0].space
        registry = Registry(store, limits, lambda space: (len(CLASSES), Task.CLASSIFICATION))
    random, written, began_s = np.random.default_rng(5), 0, time.perf_counter()
    while (passed_s := time.perf_counter() - began_s) < seconds:
        due = int(passed_s * per_second) - written
        if due > 0:
            now = Instant(clock.monotonic_s(), clock.wall_s())
            with store.transaction():
                for name in random.choice(names, min(due, len(names)), replace=False):
                    _report(store, registry, str(name), space, now, random)
                registry.flush(now)
            written += due
        time.sleep(max(0.0, TURN_S - (time.perf_counter() - began_s - passed_s)))
    print(json.dumps({"written": written, "seconds": time.perf_counter() - began_s}), flush=True)


def _report(
    store: SqlStore, registry: Registry, name: str, space: str, now: Instant, random: np.random.Generator
) -> None:  # fmt: skip
    counter = int(now.wall_s)
    labels = int(random.integers(50, 400))
    truth = random.integers(0, len(CLASSES), labels)
    probabilities = random.dirichlet(np.ones(len(CLASSES)), labels).astype(np.float32)
    sums = ClassificationSums.of(probabilities, truth)
    reported = Reported(
        "pump-sounds", "1.4.0", space, "exact", "ai-edge-litert 2.3.0", "0.2.0", "aarch64, Python 3.11", labels,
        "local", "", 14, "",
    )  # fmt: skip
    registry.on_reported(name, reported.encode(), now)
    registry.on_metrics(name, Metrics(7, counter, sums, sums).encode(), now)
    store.put_statistics(StoredStatistics(name, 7, counter, space, os.urandom(REPORT_BYTES), labels))
    registry.received(name, REPORT_BYTES)


def filled(path: str, fills: dict[str, list[str]], random: np.random.Generator) -> str:
    """A path of `ASKED` with a device and a feature space in it."""
    for name, values in fills.items():
        path = path.replace(f"{{{name}}}", str(random.choice(values)))
    return path


def alone(address: str, cookie: str, fills: dict[str, list[str]], pid: int) -> dict[str, float]:
    """Milliseconds of the processor for each place, asked for with nothing else to do."""
    random, found = np.random.default_rng(3), {}
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    for kind, path in ASKED.items():
        began_s = 0.0
        for number in range(ALONE_TIMES + 1):
            if number == 1:
                began_s = cpu_s(pid)  # the first time reads what is then remembered
            connection.request("GET", filled(path, fills, random), headers={"Cookie": cookie})
            response = connection.getresponse()
            response.read()
            assert response.status == 200, path
        found[kind] = 1e3 * (cpu_s(pid) - began_s) / ALONE_TIMES
    connection.close()
    return found


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Viewers:
    """Threads, each a browser: one connection for news, one for pages."""

    def __init__(self, address: str, cookie: str, fills: dict[str, list[str]], count: int, seconds: float) -> None:
        self._host = address.removeprefix("http://")
        self._headers = {"Cookie": cookie}
        self._fills, self._until = fills, time.perf_counter() + seconds
        self.times: dict[str, list[float]] = defaultdict(list)
        self.events: list[float] = []
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=work, args=(number,))
            for number in range(count)
            for work in (self._look, self._hear)
        ]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _look(self, number: int) -> None:
        random = np.random.default_rng(number)
        connection = http.client.HTTPConnection(self._host, timeout=60)
        time.sleep(float(random.uniform(0, ASKS_EVERY_S)))
        while time.perf_counter() < self._until:
            kind = str(random.choice(list(ASKED)))
            path = filled(ASKED[kind], self._fills, random)
            began_s = time.perf_counter()
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            first = response.read(1)
            took_s = time.perf_counter() - began_s
            response.read()
            if response.status != 200 or not first:
                self.failures.append(f"{path}: {response.status}")
            self.times[kind].append(1e3 * took_s)
            time.sleep(max(0.0, float(random.uniform(0.5, 1.5)) * ASKS_EVERY_S - took_s))
        connection.close()

    def _hear(self, number: int) -> None:
        """News, asked for again where the stream ends, as a browser does."""
        while time.perf_counter() < self._until:
            connection = http.client.HTTPConnection(self._host, timeout=30)
            try:
                connection.request("GET", "/live", headers=self._headers)
                self._follow(connection.getresponse())
            except OSError as error:
                self.failures.append(f"/live: {error}")
            connection.close()

    def _follow(self, response: http.client.HTTPResponse) -> None:
        last_s = 0.0
        while time.perf_counter() < self._until and (line := response.readline()):
            if line.startswith(b"event: pulse"):
                now_s = time.perf_counter()
                if last_s:
                    self.events.append(now_s - last_s)
                last_s = now_s


def measure(folder: Path, devices: int, viewers: int, reports: int, seconds: float) -> dict[str, Any]:
    config, cookie, fills = prepared(folder, devices)
    with running(config) as (address, _, pid):
        cpu_ms = alone(address, cookie, fills, pid)
        words = [sys.executable, "-m", "benchmarks.page_latency", "--write", str(folder), "--reports", str(reports)]
        writer = subprocess.Popen([*words, "--seconds", str(seconds + 3)], stdout=subprocess.PIPE, text=True)
        time.sleep(3)
        looking = Viewers(address, cookie, fills, viewers, seconds)
        began_cpu_s, began_s = cpu_s(pid), time.perf_counter()
        looking.run()
        share = (cpu_s(pid) - began_cpu_s) / (time.perf_counter() - began_s)
        written = json.loads(writer.communicate()[0])
        memory_mb = resident_mb(pid)
    every = [took for times in looking.times.values() for took in times]
    return {
        "devices": devices, "viewers": viewers, "reports_per_s": written["written"] / written["seconds"],
        "load": os.getloadavg()[0], "memory_mb": memory_mb, "cpu_ms": cpu_ms,
        "cpu_share": share, "failures": looking.failures[:5],
        "between_events_s": float(np.median(looking.events)) if looking.events else float("nan"),
        "first_byte_ms": {"all": _percentiles(every)} | {kind: _percentiles(t) for kind, t in looking.times.items()},
    }  # fmt: skip


def _percentiles(times: list[float]) -> dict[str, float]:
    p50, p95, longest = np.percentile(times, [50, 95, 100])
    return {"count": len(times), "p50": float(p50), "p95": float(p95), "longest": float(longest)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--reports", type=int, default=200, help="a second")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="keep the fleet there, or take the one that is")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write_reports(given.write, given.reports, given.seconds)
        return
    with tempfile.TemporaryDirectory(prefix="headway-page-") as temporary:
        folder = given.store or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(folder, given.devices, given.viewers, given.reports, given.seconds)
    print(
        f"{found['devices']:,} devices, {found['viewers']} viewers, {found['reports_per_s']:.0f} reports/s, load "
        f"{found['load']:.1f}; the API's process has {found['memory_mb']:.0f} MB and took {found['cpu_share']:.0%} of "
        f"a processor; news every {found['between_events_s']:.2f} s; failures: {found['failures'] or 'none'}"
    )
    print(f"{'':16} asked   p50, ms   p95   longest   alone, ms of the processor")
    for kind, times in found["first_byte_ms"].items():
        over = "  OVER" if times["p95"] > GOAL_MS else ""
        cpu = f"{found['cpu_ms'][kind]:8.1f}" if kind in found["cpu_ms"] else ""
        print(
            f"{kind:16} {times['count']:5} {times['p50']:9.0f} {times['p95']:5.0f} {times['longest']:9.0f} {cpu}{over}"
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
