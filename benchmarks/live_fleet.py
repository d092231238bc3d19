"""10,000 devices that are connected all the time and report once a minute: time to the ack, losses, memory.

    python -m benchmarks.live_fleet [--devices 10000] [--minutes 3] [--every-s 60] [--tls] [--json FILE]

The real `edge-fleet serve` (SQLite, shipped settings, all checks) and a real mosquitto. Each device is a connection of
its own (bare MQTT 5 in one asyncio process), subscribed to its own acks, and reports whole statistics of 65 features
and eight classes at a moment of its own in each minute. Timed is from the report's first byte to the ack of its
counter. A report without an ack of its own counts as lost; the last ones are waited for as long as the others. --tls:
devices come over TLS 1.3; the aggregator, on the same machine as its broker, does not. In the first minute every device
is new. Memory is the kernel's, `VmHWM`, at the end. The CPU of each program is in milliseconds a report, of the minutes
after the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import ssl
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.ingest import DISTINCT, cpu_s, payloads, serving
from benchmarks.restart import CLASSES, FLEET, named, resident_mb
from headway.wire import TENSORS_TYPE, Ack, Kind, topic
from headway_simulation.model import Model
from testbed.broker import Broker, free_port
from testbed.certificates import Authority

FEATURES = 65
OPEN_AT_ONCE = 100
KEEPALIVE_S = 600
# of MQTT 5: packet types with their flags, and what a device's reports carry
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE = 0x10, 0x20, 0x30, 0x40, 0x82
QOS_1, RETAIN = 0x02, 0x01
CONTENT_TYPE, USER_PROPERTY = b"\x03", b"\x26"


@dataclass(slots=True)
class Fleet:
    """What all devices of a run share. reports: of each counter; waits_s: counter, and seconds to its ack."""

    reports: list[list[bytes]]
    waits_s: list[tuple[int, float]] = field(default_factory=list)
    closed: int = 0


@dataclass(frozen=True, slots=True)
class Minute:
    """Of one round of reports: seconds to the ack."""

    round: int
    reports: int
    p50_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Result:
    devices: int
    every_s: float
    tls: bool
    minutes: list[Minute]
    lost: int
    connections_lost: int
    aggregator_ms: float
    broker_ms: float
    generator_ms: float
    aggregator_peak_mb: float
    load: float


class Device(asyncio.Protocol):
    """One connection. `ready` ends when the broker has taken its subscription."""

    def __init__(self, name: str, fleet: Fleet, ready: asyncio.Future[None]) -> None:
        self._name, self._fleet, self._ready = name, fleet, ready
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._counter, self._sent_s = 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        body = text("MQTT") + b"\x05\x02" + KEEPALIVE_S.to_bytes(2, "big") + b"\0" + text(self._name)
        transport.write(packet(CONNECT, body))

    def connection_lost(self, problem: Exception | None) -> None:
        self._fleet.closed += 1

    def report(self, counter: int) -> None:
        """Publish the report of this counter."""
        assert self._transport is not None
        self._sent_s = time.monotonic()
        about = CONTENT_TYPE + text(TENSORS_TYPE) + USER_PROPERTY + text("schema") + text("1")
        some = self._fleet.reports[counter]
        payload = named(some[int(self._name[-5:]) % len(some)], self._name)
        head = (
            text(topic(FLEET, self._name, Kind.STATISTICS)) + counter.to_bytes(2, "big") + bytes([len(about)]) + about
        )
        self._transport.write(packet(PUBLISH | QOS_1 | RETAIN, head + payload))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (found := first_packet(self._received)) is not None:
            kind, start, end = found
            body = bytes(self._received[start:end])
            del self._received[:end]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        assert self._transport is not None
        if kind == CONNACK:
            if body[1]:
                raise RuntimeError(f"the broker refused {self._name}: code {body[1]}")
            name = topic(FLEET, self._name, Kind.ACK)
            self._transport.write(packet(SUBSCRIBE, b"\0\1\0" + text(name) + b"\1"))
        elif kind == SUBSCRIBE & 0xF0 | 0x10:
            self._ready.set_result(None)
        elif kind & 0xF0 == PUBLISH:
            at = 2 + int.from_bytes(body[:2], "big")
            if kind & QOS_1:
                self._transport.write(packet(PUBACK, body[at : at + 2]))
                at += 2
            # properties of fewer than 128 bytes
            ack = Ack.decode(body[at + 1 + body[at] :])
            if ack.refused:
                raise RuntimeError(f"{self._name}: {ack.refused}: {ack.problem}")
            if ack.counter > self._counter:
                self._counter = ack.counter
                self._fleet.waits_s.append((ack.counter, time.monotonic() - self._sent_s))


def text(value: str) -> bytes:
    """A string of MQTT."""
    return len(value).to_bytes(2, "big") + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    """A packet of MQTT: kind and flags, length, body."""
    length, left = bytearray(), len(body)
    while True:
        left, low = left >> 7, left & 0x7F
        length.append(low | (0x80 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + body


def first_packet(data: bytearray) -> tuple[int, int, int] | None:
    """Kind of the first packet, where its body begins and ends; None before all of it is there."""
    length = 0
    for place in range(1, min(len(data), 5)):
        length |= (data[place] & 0x7F) << (7 * (place - 1))
        if not data[place] & 0x80:
            end = place + 1 + length
            return (data[0], place + 1, end) if len(data) >= end else None
    return None


async def live(fleet: Fleet, names: list[str], port: int, tls: ssl.SSLContext | None, options: argparse.Namespace,
               after_first: list[float], pids: tuple[int, int]) -> None:  # fmt: skip
    """Connect every device, and let each report in every minute. after_first: gets the CPU spent until the second."""
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(OPEN_AT_ONCE)

    async def opened(name: str) -> Device:
        async with gate:
            ready: asyncio.Future[None] = loop.create_future()
            _, device = await loop.create_connection(
                lambda: Device(name, fleet, ready), "127.0.0.1", port, ssl=tls,
                ssl_handshake_timeout=None if tls is None else 120,
            )  # fmt: skip
            await asyncio.wait_for(ready, 120)
            return device

    devices = await asyncio.gather(*(opened(name) for name in names))
    print(f"{len(devices)} devices are connected", flush=True)
    phases = np.random.default_rng(5).permutation(len(devices)) * (options.every_s / len(devices))
    began_s = loop.time()

    async def one(device: Device, phase_s: float) -> None:
        for counter in range(1, options.minutes + 1):
            await asyncio.sleep(max(began_s + (counter - 1) * options.every_s + phase_s - loop.time(), 0.0))
            device.report(counter)

    async def note() -> None:
        await asyncio.sleep(options.every_s)
        after_first.extend([*map(cpu_s, pids), time.process_time()])

    await asyncio.gather(note(), *(one(device, phase) for device, phase in zip(devices, phases.tolist(), strict=True)))
    # the last ones have as long as a minute, too
    deadline_s = loop.time() + options.every_s
    while len(fleet.waits_s) < len(devices) * options.minutes and loop.time() < deadline_s:
        await asyncio.sleep(0.1)


def measure(folder: Path, options: argparse.Namespace) -> Result:
    variant = Model(FEATURES - 1, CLASSES).variant
    variant.write(folder / "plant.hwb")
    rounds = [[], *(payloads(FEATURES - 1, variant.space, counter) for counter in range(1, options.minutes + 1))]
    assert all(len(some) == DISTINCT for some in rounds[1:])
    extra, port, context = "max_connections -1\nlog_type error\n", 0, None
    if options.tls:
        authority = Authority(folder)
        certificate, key = authority.issue("broker")
        port = free_port()
        extra += f"listener {port} 127.0.0.1\ncafile {authority.ca_file}\ncertfile {certificate}\nkeyfile {key}\n"
        context = ssl.create_default_context(cafile=str(authority.ca_file))
    fleet = Fleet(rounds)
    names = [f"device-{index:05d}" for index in range(options.devices)]
    with Broker(autosave=1_000_000, extra=extra) as broker, serving(folder, broker) as service:
        pids = service.pid, broker.pid
        after_first: list[float] = []
        asyncio.run(live(fleet, names, port or broker.port, context, options, after_first, pids))
        spent = [now - was for now, was in zip([*map(cpu_s, pids), time.process_time()], after_first, strict=True)]
        peak_mb, load = resident_mb(service.pid, "VmHWM"), os.getloadavg()[0]
    count = max(len(names) * (options.minutes - 1), 1)
    each = [1e3 * seconds / count for seconds in spent]
    lost = len(names) * options.minutes - len(fleet.waits_s)
    minutes = [minute_of(counter, fleet) for counter in range(1, options.minutes + 1)]
    return Result(len(names), options.every_s, options.tls, minutes, lost, fleet.closed, each[0],
                  each[1], each[2], peak_mb, load)  # fmt: skip


def minute_of(counter: int, fleet: Fleet) -> Minute:
    waits = np.array([wait for found, wait in fleet.waits_s if found == counter])
    if not len(waits):
        return Minute(counter, 0, math.nan, math.nan, math.nan)
    p50, p99 = np.quantile(waits, [0.5, 0.99]).tolist()
    return Minute(counter, len(waits), p50, p99, float(waits.max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=3, help="rounds of reports")
    parser.add_argument("--every-s", type=float, default=60.0, help="seconds of a round")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="headway-live-") as scratch:
        result = measure(Path(scratch), options)
    print(f"{'round':>5}{'acked':>8}{'p50 s':>9}{'p99 s':>9}{'longest s':>11}")
    for row in result.minutes:
        print(f"{row.round:>5}{row.reports:>8}{row.p50_s:>9.3f}{row.p99_s:>9.3f}{row.longest_s:>11.3f}")
    costs = f"aggregator {result.aggregator_ms:.2f}, broker {result.broker_ms:.2f}, generator {result.generator_ms:.2f}"
    print(
        f"lost {result.lost}, connections lost {result.connections_lost}; aggregator's peak "
        f"{result.aggregator_peak_mb:.0f} MB; CPU of a report, ms: {costs}; load {result.load:.1f}"
    )
    if options.json:
        options.json.write_text(json.dumps(asdict(result), indent=1))


if __name__ == "__main__":
    main()
