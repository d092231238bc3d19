"""How long the aggregator of a large fleet takes to start, and how much memory it then has.

    python -m benchmarks.restart [--devices 1000 10000] [--sizes 65 321] [--kept-only] [--url URL] [--json FILE]

A store is filled through the core, as the service fills it: every device reports 40 labels, whole statistics of d
features and eight classes. Then the real `edge-fleet serve` starts on it as a process of its own, with a real mosquitto
that retains all these reports, as it does of a real fleet. Timed are, from the start of the process: "serving" in its
log (and the processor time until then, in which other work on the machine weighs less), and its head at the broker.
Memory is the kernel's, `VmHWM`, when every retained report was taken in again. "from reports" is the same without kept
sums, as after damage, which --kept-only leaves out. `report_ms`: what the core and the store took for one report.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aggregator.core import Aggregator
from aggregator.effects import Instant
from aggregator.heads import FleetModel
from aggregator.policy import Policy
from aggregator.store import sqlite_url
from aggregator.store.rows import SUMS
from aggregator.store.sql import SqlStore
from headway.bundle import Variant
from headway.maths import Statistics
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Delivered, Outgoing, Received, TransportEvent
from headway.wire import ALL, Kind, StatisticsReport, topic
from headway_simulation.model import Model
from testbed.broker import Broker

FLEET, CLASSES = "plant", tuple(f"class-{index}" for index in range(8))
LABELS, BATCH, IN_FLIGHT = 40, 50, 200
BEGAN_S = 1_790_000_000.0
WAIT_S = 3600.0
# after so long without an ack no more will come
QUIET_S = 15.0
ANYBODY = "device-nnnnn"
SERVING = re.compile(r"INFO headway\.aggregator serving")
GOALS = {"serving_s": 5.0, "peak_mb": 300.0}


@dataclass(frozen=True, slots=True)
class Start:
    """serving_s, head_s: since the process began; peak_mb: of resident memory when all reports came once more.

    serving_processor_s: of one processor until it served. acked: retained reports that were acknowledged again; where
    acks come faster than the broker takes them the service leaves some out, and devices ask once more.
    """

    serving_s: float
    serving_processor_s: float
    head_s: float
    settled_s: float
    acked: int
    start_mb: float
    peak_mb: float


def packed_reports(variant: Variant) -> list[tuple[bytes, Statistics]]:
    """Reports of anybody, and their tables: few distinct ones, since only their size costs."""
    random = np.random.default_rng(1)
    packed = []
    for _ in range(20):
        codes = random.integers(-127, 128, (LABELS, variant.training_statistics.size)).astype(np.int8)
        tables = Statistics.of(codes, random.integers(0, len(CLASSES), LABELS), CLASSES, variant.space)
        packed.append((StatisticsReport(ANYBODY, 1, 1, tables).encode(), tables))
    return packed


def named(packed: bytes, device: str) -> bytes:
    """Such a report of this device: a name of the same length in the other's place. Packing is the devices' work, and
    took longer than what is measured."""
    return packed.replace(ANYBODY.encode(), device.encode())


def reports(variant: Variant, devices: int) -> Iterator[Received]:
    """What every device says."""
    packed = packed_reports(variant)
    for index in range(devices):
        device = f"device-{index:05d}"
        yield Received(topic(FLEET, device, Kind.STATISTICS), named(packed[index % len(packed)][0], device))


def fill(url: str, variant: Variant, devices: int) -> float:
    """Take in every report as the service does; returns milliseconds of one."""
    store = SqlStore(url)
    with store.transaction():
        core = Aggregator(FLEET, FleetModel.of(variant), Policy(), store)
    taken_s = 0.0
    batch: list[Received] = []
    for number, report in enumerate(reports(variant, devices), 1):
        batch.append(report)
        if len(batch) < BATCH and number < devices:
            continue
        # places for new devices are given by the hour
        now = Instant(3600.0 * number, BEGAN_S + number)
        began_s = time.perf_counter()
        with store.transaction():
            core.receive(batch, now)
        taken_s += time.perf_counter() - began_s
        batch = []
    with store.transaction():
        core.tick(Instant(3600.0 * devices + 7200.0, BEGAN_S + devices))
    store.close()
    return 1e3 * taken_s / devices


def retain(broker: Broker, variant: Variant, devices: int) -> None:
    """Have the broker retain what every device said."""
    events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
    settings = MqttSettings(host=broker.host, port=broker.port, receive_max=IN_FLIGHT)
    transport = MqttTransport(settings, "fills", (), Outgoing("fills/gone", b""), events.put)
    transport.start()
    while not isinstance(events.get(timeout=60), Connected):
        pass
    open_count = 0
    for report in reports(variant, devices):
        while transport.publish(Outgoing(report.topic, report.payload, retain=True)) is None:
            time.sleep(0.001)
        open_count += 1
        while open_count >= IN_FLIGHT or not events.empty():
            open_count -= isinstance(events.get(timeout=60), Delivered)
    while open_count:
        open_count -= isinstance(events.get(timeout=60), Delivered)
    transport.stop()


def resident_mb(pid: int, name: str) -> float:
    """`VmRSS` or `VmHWM` of a process, megabytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status has no {name}")
    return int(found[1]) / 1024


def processor_s(pid: int) -> float:
    """Processor time of a running process so far, in user and system mode, seconds."""
    # the name in brackets may hold anything; utime and stime are fields 14 and 15 (proc(5))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(config: Path, broker: Broker, devices: int) -> Start:
    """Start the service, and stop it when the broker has heard an ack for every retained report."""
    heard: queue.SimpleQueue[tuple[float, TransportEvent]] = queue.SimpleQueue()
    settings = MqttSettings(host=broker.host, port=broker.port)
    names = (topic(FLEET, ALL, Kind.HEAD), f"headway/v1/{FLEET}/+/{Kind.ACK}")
    watcher = MqttTransport(
        settings, "watches", names, Outgoing("watches/gone", b""), lambda event: heard.put((time.monotonic(), event))
    )
    watcher.start()
    while not isinstance(heard.get(timeout=60)[1], Connected):
        pass
    while not heard.empty():
        heard.get()
    began_s = time.monotonic()
    command = [sys.executable, "-m", "aggregator.cli", "serve", "--config", str(config)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    serving: queue.SimpleQueue[tuple[float, float]] = queue.SimpleQueue()
    lines: list[str] = []

    def follow() -> None:
        assert service.stderr is not None
        for line in service.stderr:
            lines.append(line)
            if SERVING.search(line):
                serving.put((time.monotonic(), processor_s(service.pid)))

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        serving_at_s, used_s = serving.get(timeout=WAIT_S)
        serving_s = serving_at_s - began_s
        start_mb = resident_mb(service.pid, "VmHWM")
        head_s, settled_s, acked = None, 0.0, set[str]()
        while head_s is None or len(acked) < devices:
            try:
                at_s, event = heard.get(timeout=120 if head_s is None else QUIET_S)
            except queue.Empty:
                if head_s is None:
                    raise
                break
            if isinstance(event, Received) and event.topic.endswith(f"/{Kind.ACK}"):
                acked.add(event.topic)
                settled_s = at_s - began_s
            elif isinstance(event, Received) and not event.retain and head_s is None:
                head_s = at_s - began_s
        return Start(serving_s, used_s, head_s, settled_s, len(acked), start_mb, resident_mb(service.pid, "VmHWM"))
    except queue.Empty as error:
        raise RuntimeError("the service did not come so far: " + "".join(lines[-5:])) from error
    finally:
        service.terminate()
        service.wait(60)
        reader.join()
        watcher.stop()


def measure(folder: Path, devices: int, size: int, given_url: str, anew: bool) -> dict[str, object]:
    """One fleet: filled, started, and where `anew` is asked for started once more without kept sums."""
    variant = Model(size, CLASSES).variant
    variant.write(folder / "plant.hwb")
    url = given_url or sqlite_url(folder)
    report_ms = fill(url, variant, devices)
    row: dict[str, object] = {"devices": devices, "features": size, "report_ms": report_ms}
    # the watcher is slower than the service, and no ack may be lost on the way to it
    with Broker(autosave=1_000_000, extra="max_queued_messages 0\n") as broker:
        retain(broker, variant, devices)
        config = folder / "aggregator.toml"
        config.write_text(
            f'[fleet]\nname = "{FLEET}"\n[bundle]\npath = "plant.hwb"\n[storage]\nstate_dir = "."\n'
            f"{'database_url = ' + json.dumps(given_url) if given_url else ''}\n"
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        row["kept sums"] = asdict(start(config, broker, devices))
        if anew:
            store = SqlStore(url)
            with store.transaction():
                store.rows(SUMS).remove()
            store.close()
            row["from reports"] = asdict(start(config, broker, devices))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--sizes", type=int, nargs="+", default=[65, 321])
    parser.add_argument("--url", default="", help="of an empty database, for one fleet; SQLite in a folder otherwise")
    parser.add_argument("--kept-only", action="store_true", help="do not start without kept sums")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for size in given.sizes:
        for devices in given.devices:
            with tempfile.TemporaryDirectory(prefix="headway-restart-") as scratch:
                row = measure(Path(scratch), devices, size, given.url, not given.kept_only)
            rows.append(row)
            print(json.dumps(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"goals": GOALS, "rows": rows}, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
