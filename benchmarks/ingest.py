"""Whole reports of the exact learner that an aggregator makes durable and acknowledges in a second.

    python -m benchmarks.ingest [--devices 2000] [--rounds 3] [--sizes 65 321] [--steady 0] [--json FILE]

The real `edge-fleet serve` (SQLite in a folder, shipped settings, all checks) and a real mosquitto. One client speaks
for all devices, each under its own topic: payloads are made beforehand, whole statistics of d features (the constant
included) and eight classes, more labels in each round, and no more than IN_FLIGHT are unanswered. Every device's
report is acknowledged before its next one counts as sent. Rates are reports whose ack has come, by the wall clock of
each round; the CPU of the aggregator, of mosquitto and of the generator is the kernel's, in milliseconds a report: on
few cores they share what there is. The first round stores devices that are new, the others replace what is stored.
"gap" is the longest time between two acks: those of a transaction come together, as many as 16 MB of reports.

The labels follow from nothing, so that each device is a suspect when devices are compared (`[outliers]`), every half
minute. --steady: reports of one device after the other for so many seconds more, 50 a second, as a fleet sends them
that nobody holds back; of these how long their acks took.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.restart import ANYBODY, CLASSES, FLEET, named
from headway.maths import Statistics
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Outgoing, Received, TransportEvent
from headway.wire import Ack, Kind, StatisticsReport, topic
from headway_simulation.model import Model
from testbed.broker import Broker

IN_FLIGHT = 1000
DISTINCT = 20
LABELS_A_ROUND = 30
WAIT_S = 120.0
# of reports of --steady
RATE = 50.0
TICKS = os.sysconf("SC_CLK_TCK")
# what is sent before is nobody's: the broker does not know yet who listens
LISTENING = "INFO headway.aggregator connected to the broker"


@dataclass(frozen=True, slots=True)
class Round:
    """Of one round: acks a second, the longest time between two of them, seconds, and milliseconds of CPU that one
    report costs each program."""

    features: int
    round: int
    devices: int
    bytes_of_one: int
    acked_per_s: float
    gap_s: float
    aggregator_ms: float
    broker_ms: float
    generator_ms: float


@dataclass(frozen=True, slots=True)
class Steady:
    """Of reports at a fixed rate: how long their acks took, seconds, and the longest time between two acks."""

    features: int
    reports: int
    median_s: float
    p99_s: float
    longest_s: float
    gap_s: float
    aggregator_share: float


def payloads(size: int, space: str, counter: int) -> list[bytes]:
    """Reports of anybody under this counter, of more labels the later the round."""
    random = np.random.default_rng(counter)
    made = []
    for _ in range(DISTINCT):
        count = LABELS_A_ROUND * counter
        # like features of a network: half of them at rest
        codes = np.maximum(random.normal(0, 40, (count, size)), 0).clip(0, 127).astype(np.int8)
        tables = Statistics.of(codes, random.integers(0, len(CLASSES), count), CLASSES, space)
        made.append(StatisticsReport(ANYBODY, 1, counter, tables).encode())
    return made


def cpu_s(pid: int) -> float:
    """User and system time of a process and of those that it has started and that run, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(cpu_s(int(child)) for child in children)


@contextmanager
def serving(folder: Path, broker: Broker) -> Iterator[subprocess.Popen[str]]:
    """The aggregator with its state in a folder that holds plant.hwb, once it listens."""
    config = folder / "aggregator.toml"
    config.write_text(
        f'[fleet]\nname = "{FLEET}"\n[bundle]\npath = "plant.hwb"\n[storage]\nstate_dir = "."\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
    )
    command = [sys.executable, "-m", "aggregator.cli", "serve", "--config", str(config)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert service.stderr is not None
    try:
        if not any(LISTENING in line for line in service.stderr):
            raise RuntimeError("edge-fleet serve ended before it listened")
        # what it logs later must not fill the pipe
        threading.Thread(target=service.stderr.read, daemon=True).start()
        yield service
    finally:
        service.terminate()
        service.wait(60)


class Devices:
    """All devices of a fleet on one connection. features: the constant included."""

    def __init__(self, broker: Broker, count: int, features: int, space: str) -> None:
        self._names = [f"device-{index:05d}" for index in range(count)]
        self._features, self._space = features, space
        self._events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
        settings = MqttSettings(host=broker.host, port=broker.port, receive_max=IN_FLIGHT)
        acks = (f"headway/v1/{FLEET}/+/{Kind.ACK}",)
        self._transport = MqttTransport(settings, "all-devices", acks, None, self._events.put)
        self._transport.start()
        while not isinstance(self._events.get(timeout=WAIT_S), Connected):
            pass

    def reports(self, counter: int) -> list[Outgoing]:
        """Of every device, under this counter."""
        packed = payloads(self._features - 1, self._space, counter)
        return [
            Outgoing(topic(FLEET, name, Kind.STATISTICS), named(packed[index % DISTINCT], name))
            for index, name in enumerate(self._names)
        ]

    def acknowledged(self, messages: list[Outgoing], counter: int) -> tuple[float, float]:
        """Send every message, and wait for the ack of each; returns the seconds, and the longest between two acks."""
        began_s = last_s = time.monotonic()
        unanswered, sent, gap_s = set[str](), 0, 0.0
        while sent < len(messages) or unanswered:
            while sent < len(messages) and len(unanswered) < IN_FLIGHT:
                message = messages[sent]
                if self._transport.publish(message) is None:
                    break
                unanswered.add(message.topic.replace(f"/{Kind.STATISTICS}", f"/{Kind.ACK}"))
                sent += 1
            answered = self._answered(WAIT_S, counter)
            if answered in unanswered:
                unanswered.discard(answered)
                now_s = time.monotonic()
                gap_s, last_s = max(gap_s, now_s - last_s), now_s
        return time.monotonic() - began_s, gap_s

    def answered_after(self, messages: list[Outgoing], counter: int) -> tuple[list[float], float]:
        """Send a message every 1 / RATE seconds; after how many each was acknowledged, and the longest between two
        acks."""
        began_s = last_s = time.monotonic()
        sent_at_s: dict[str, float] = {}
        took, sent, gap_s = list[float](), 0, 0.0
        while len(took) < len(messages):
            next_s = began_s + sent / RATE if sent < len(messages) else float("inf")
            now_s = time.monotonic()
            if now_s >= next_s and self._transport.publish(messages[sent]) is not None:
                sent_at_s[messages[sent].topic.replace(f"/{Kind.STATISTICS}", f"/{Kind.ACK}")] = now_s
                sent += 1
                continue
            try:
                answered = self._answered(min(WAIT_S, max(0.001, next_s - now_s)), counter)
            except queue.Empty:
                if sent == len(messages):
                    raise
                continue
            if answered in sent_at_s:
                now_s = time.monotonic()
                took.append(now_s - sent_at_s.pop(answered))
                gap_s, last_s = max(gap_s, now_s - last_s), now_s
        return took, gap_s

    def _answered(self, timeout_s: float, counter: int) -> str:
        """The topic of an ack of this counter, empty for anything else. Raises queue.Empty."""
        event = self._events.get(timeout=timeout_s)
        if not isinstance(event, Received) or not event.topic.endswith(f"/{Kind.ACK}"):
            return ""
        ack = Ack.decode(event.payload)
        if ack.refused:
            raise RuntimeError(f"{event.topic}: {ack.refused}: {ack.problem}")
        return event.topic if ack.counter >= counter else ""

    def close(self) -> None:
        """Disconnect."""
        self._transport.stop()


def measure(folder: Path, features: int, devices: int, rounds: int, steady_s: float) -> Iterator[Round | Steady]:
    """Every round of a fresh aggregator, then what is steady."""
    variant = Model(features - 1, CLASSES).variant
    variant.write(folder / "plant.hwb")
    with Broker(autosave=1_000_000) as broker, serving(folder, broker) as service:
        fleet = Devices(broker, devices, features, variant.space)
        for counter in range(1, rounds + 1):
            messages = fleet.reports(counter)
            before = cpu_s(service.pid), cpu_s(broker.pid), time.process_time()
            wall_s, gap_s = fleet.acknowledged(messages, counter)
            after = cpu_s(service.pid), cpu_s(broker.pid), time.process_time()
            spent = [1e3 * (now - was) / devices for now, was in zip(after, before, strict=True)]
            yield Round(features, counter, devices, len(messages[0].payload), devices / wall_s, gap_s, *spent)
        took, wanted, counter = list[float](), round(steady_s * RATE), rounds
        gap_s, before_s, began_s = 0.0, cpu_s(service.pid), time.monotonic()
        while len(took) < wanted:
            counter += 1
            messages = fleet.reports(counter)[: wanted - len(took)]
            more, between_s = fleet.answered_after(messages, counter)
            took, gap_s = took + more, max(gap_s, between_s)
        if took:
            share = (cpu_s(service.pid) - before_s) / (time.monotonic() - began_s)
            p50, p99 = np.percentile(took, [50, 99]).tolist()
            yield Steady(features, len(took), p50, p99, max(took), gap_s, share)
        fleet.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[65, 321], help="features, the constant included")
    parser.add_argument(
        "--steady", type=float, default=0.0, help="seconds of reports at a fixed rate, after the rounds"
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[Round] = []
    heads = f"{'d':>5}{'round':>7}{'devices':>9}{'bytes':>8}{'acked/s':>9}{'gap, s':>8}"
    print(f"{heads}  CPU, ms: aggregator, broker, generator")
    for size in given.sizes:
        with tempfile.TemporaryDirectory(prefix="headway-ingest-") as scratch:
            for row in measure(Path(scratch), size, given.devices, given.rounds, given.steady):
                if isinstance(row, Steady):
                    print(
                        f"{row.features:>5} {row.reports} reports, {RATE:g} a second: ack after {row.median_s:.3f} s "
                        f"(median), {row.p99_s:.3f} (99 %), {row.longest_s:.3f} (longest); {row.gap_s:.3f} s between "
                        f"two acks at most; the aggregator took {row.aggregator_share:.0%} of a core",
                        flush=True,
                    )
                    continue
                rows.append(row)
                print(
                    f"{row.features:>5}{row.round:>7}{row.devices:>9}{row.bytes_of_one:>8}{row.acked_per_s:>9.0f}"
                    f"{row.gap_s:>8.2f}{row.aggregator_ms:>10.2f}{row.broker_ms:>8.2f}{row.generator_ms:>8.2f}",
                    flush=True,
                )
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
