"""Two ingest workers against one: processor time of a report that is durable on PostgreSQL and acknowledged.

    python -m benchmarks.workers [--devices 2000] [--rounds 3] [--features 65] [--workers 1 2] [--json FILE]

Real mosquitto, a real PostgreSQL that keeps what it commits (fsync), `edge-fleet serve` as the publisher and so many
`edge-fleet worker`, shipped settings. The load is that of benchmarks.ingest: whole reports, made beforehand, one
connection for all devices, 1,000 at most unanswered. CPU is the kernel's, of the workers and of every process of the
database, the publisher's beside it; the first round stores devices that are new and is not counted in the ratio.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.ingest import TICKS, WAIT_S, Devices, cpu_s
from benchmarks.restart import CLASSES, FLEET, SERVING
from headway_simulation.model import Model
from testbed.broker import Broker
from testbed.postgresql import Postgresql

CONNECTED = re.compile("connected to the broker")


@dataclass(frozen=True, slots=True)
class Row:
    """One round: acks a second by the clock, and milliseconds of CPU of each part for one report."""

    workers: int
    features: int
    round: int
    devices: int
    acked_per_s: float
    workers_ms: float
    database_ms: float
    publisher_ms: float
    broker_ms: float

    @property
    def counted_ms(self) -> float:
        return self.workers_ms + self.database_ms


def tree_s(pid: int) -> float:
    """User and system time of a process, of its children, and of children that it has seen end, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ended_s = (int(fields[13]) + int(fields[14])) / TICKS
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_s(pid) + ended_s + sum(cpu_s(int(child)) for child in children)


def started(folder: Path, word: re.Pattern[str], *arguments: str) -> subprocess.Popen[str]:
    """A program of the server, once its log says `word`."""
    log = folder / f"{'-'.join(arguments)}.log"
    command = [sys.executable, "-m", "aggregator.cli", *arguments, "--config", str(folder / "aggregator.toml")]
    with log.open("w") as opened:
        process = subprocess.Popen(command, stderr=opened, text=True)
    deadline_s = time.monotonic() + WAIT_S
    while not word.search(log.read_text()):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"edge-fleet {' '.join(arguments)} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    return process


def measure(folder: Path, server: Postgresql, workers: int, features: int, devices: int, rounds: int) -> list[Row]:
    """Every round of a fresh database with so many workers."""
    variant = Model(features - 1, CLASSES).variant
    variant.write(folder / "plant.hwb")
    processes: list[subprocess.Popen[str]] = []
    with Broker(autosave=1_000_000) as broker:
        (folder / "aggregator.toml").write_text(
            f'[fleet]\nname = "{FLEET}"\n[bundle]\npath = "plant.hwb"\n[workers]\nenabled = true\n'
            f'[storage]\nstate_dir = "."\ndatabase_url = {json.dumps(server.new_database())}\n'
            f"[publish]\nprior_devices_min = 0\n"
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        try:
            publisher = started(folder, SERVING, "serve")
            processes.append(publisher)
            some = [started(folder, CONNECTED, "worker", "--name", f"w{number}") for number in range(workers)]
            processes += some
            fleet, done = Devices(broker, devices, features, variant.space), []
            for counter in range(1, rounds + 1):
                messages = fleet.reports(counter)

                def spent_s() -> tuple[float, float, float, float]:
                    mine = sum(cpu_s(worker.pid) for worker in some)
                    return mine, tree_s(server.pid), cpu_s(publisher.pid), cpu_s(broker.pid)

                before = spent_s()
                wall_s, _ = fleet.acknowledged(messages, counter)
                costs = [1e3 * (now - was) / devices for now, was in zip(spent_s(), before, strict=True)]
                done.append(Row(workers, features, counter, devices, devices / wall_s, *costs))
            fleet.close()
            return done
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--features", type=int, default=65, help="the constant included")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[Row] = []
    print(f"{'workers':>7}{'d':>5}{'round':>7}{'acked/s':>9}   CPU, ms: workers, database, publisher, broker")
    with Postgresql(durable=True) as server:
        for workers in given.workers:
            with tempfile.TemporaryDirectory(prefix="headway-workers-") as scratch:
                for row in measure(Path(scratch), server, workers, given.features, given.devices, given.rounds):
                    rows.append(row)
                    print(
                        f"{row.workers:>7}{row.features:>5}{row.round:>7}{row.acked_per_s:>9.0f}"
                        f"{row.workers_ms:>12.2f}{row.database_ms:>8.2f}{row.publisher_ms:>8.2f}{row.broker_ms:>8.2f}",
                        flush=True,
                    )
    few, many = given.workers[0], given.workers[-1]
    costs, rates = {}, {}
    for count in (few, many):
        later = [row for row in rows if row.workers == count and (row.round > 1 or given.rounds == 1)]
        costs[count] = sum(row.counted_ms for row in later) / len(later)
        rates[count] = len(later) / sum(1 / row.acked_per_s for row in later)
    print(
        f"{many} workers against {few}: CPU of workers and database {costs[many] / costs[few]:.2f} times, "
        f"{rates[many] / rates[few]:.2f} times the rate"
    )
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
