"""How hard a fleet hits its broker after a restart: our full jitter, and paho's own back-off, which has none.

    python -m benchmarks.reconnect_storm [--clients 1000] [--outage-s 3] [--json FILE]

1,000 clients (bare MQTT 5 connections in one asyncio process) are on a real mosquitto, which is killed and started
again. Every attempt to connect is timed. The clients differ only in how they wait: `headway.mqtt.backoff.FullJitter`
with a device's default settings, or the rule of `paho.mqtt.client.Client.reconnect_delay_set` with its defaults: 1 s
after the loss, then twice as long after each failure, up to 120 s. Both run against the same broker, one after the
other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from headway.mqtt import FullJitter, MqttSettings
from headway.ports import Response
from testbed.broker import Broker

WORKED_S = 3600.0
SETTLE_TIMEOUT_S = 300.0
CONNECT_TIMEOUT_S = 10.0
OPEN_AT_ONCE = 50


class Wait(Protocol):
    def after_loss(self) -> float: ...

    def after_failure(self) -> float: ...


class OurWait:
    """What headway.mqtt.transport does."""

    def __init__(self) -> None:
        default = MqttSettings()
        self._jitter = FullJitter(default.reconnect_min_s, default.reconnect_max_s, default.reconnect_spread_s)

    def after_loss(self) -> float:
        return self._jitter.wait_s(Response.RETRY, WORKED_S)

    def after_failure(self) -> float:
        return self._jitter.wait_s(Response.RETRY, None)


class PahoWait:
    """What paho's loop_forever does with reconnect_on_failure and no other settings (its _reconnect_wait)."""

    def __init__(self) -> None:
        self._delay_s = 1.0

    def after_loss(self) -> float:
        self._delay_s = 1.0
        return self._delay_s

    def after_failure(self) -> float:
        self._delay_s = min(self._delay_s * 2, 120.0)
        return self._delay_s


@dataclass
class Storm:
    """Times of attempts and of accepted connections, seconds since the broker was killed."""

    attempts: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """peak_per_s, peak_per_100_ms: most attempts in any such window that begins at a multiple of 100 ms."""

    rule: str
    clients: int
    outage_s: float
    attempts: int
    peak_per_s: int
    peak_per_100_ms: int
    half_back_s: float
    all_back_s: float


async def client(
    number: int, port: int, wait: Wait, storm: Callable[[], Storm | None], ready: asyncio.Semaphore
) -> None:
    """One client for ever: connect, stay until the connection ends, wait, again. `storm`: where to note, if at all."""
    name = f"client-{number}".encode()
    body = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + len(name).to_bytes(2, "big") + name
    connect = bytes([0x10, len(body)]) + body
    first = True
    while True:
        noted = storm()
        if noted is not None:
            noted.attempts.append(time.monotonic())
        accepted = False
        try:
            if first:
                await ready.acquire()
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_TIMEOUT_S)
            writer.write(connect)
            answer = await asyncio.wait_for(reader.readexactly(4), CONNECT_TIMEOUT_S)
            accepted = answer[0] == 0x20 and answer[3] == 0
            if accepted and (noted := storm()) is not None:
                noted.accepted.append(time.monotonic())
            if first:
                ready.release()
                first = False
            while await reader.read(4096):
                continue
            writer.close()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        await asyncio.sleep(wait.after_loss() if accepted else wait.after_failure())


async def measure(rule: str, make: Callable[[], Wait], count: int, outage_s: float) -> Result:
    """One restart with `count` clients of one rule."""
    storm: Storm | None = None
    with Broker(extra="max_connections -1\nlog_type error") as broker:
        ready = asyncio.Semaphore(OPEN_AT_ONCE)
        tasks = [asyncio.create_task(client(n, broker.port, make(), lambda: storm, ready)) for n in range(count)]
        await until(lambda: connections(broker) >= count, "all clients to be connected")
        storm = Storm()
        began_s = time.monotonic()
        broker.kill()
        await asyncio.sleep(outage_s)
        await asyncio.to_thread(broker.start)
        await until(lambda: len(storm.accepted) >= count, "all clients to be back")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    times = sorted(at - began_s for at in storm.attempts)
    back = sorted(at - began_s for at in storm.accepted)
    return Result(
        rule,
        count,
        outage_s,
        len(times),
        peak(times, 1.0),
        peak(times, 0.1),
        round(back[len(back) // 2], 2),
        round(back[count - 1], 2),
    )


def peak(times: list[float], window_s: float) -> int:
    """Most of the sorted `times` in one window that begins at a multiple of 100 ms."""
    if not times:
        return 0
    starts = [step / 10 for step in range(int(times[-1] * 10) + 1)]
    return max(sum(start <= at < start + window_s for at in times) for start in starts)


def connections(broker: Broker) -> int:
    """Established connections to the broker's port, from the kernel's table."""
    wanted = f":{broker.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(row[1].endswith(wanted) and row[3] == "01" for row in rows)


async def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"error: waited {SETTLE_TIMEOUT_S:.0f} s for {what}")
        await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--outage-s", type=float, default=3.0, help="how long the broker is away (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * options.clients + 100)), hard))
    rules: tuple[tuple[str, Callable[[], Wait]], ...] = (("headway, full jitter", OurWait), ("paho's own", PahoWait))
    results = [asyncio.run(measure(name, make, options.clients, options.outage_s)) for name, make in rules]
    print(f"{options.clients} clients, broker away for {options.outage_s:g} s; attempts to connect, s since the kill")
    print(f"{'rule':<24}{'attempts':>10}{'peak/s':>10}{'peak/0.1 s':>12}{'half back':>11}{'all back':>10}")
    for r in results:
        print(
            f"{r.rule:<24}{r.attempts:>10}{r.peak_per_s:>10}{r.peak_per_100_ms:>12}"
            f"{r.half_back_s:>9} s{r.all_back_s:>8} s"
        )
    ours, theirs = results
    print(
        f"ratio of peaks, paho's to ours: {theirs.peak_per_s / ours.peak_per_s:.1f} in 1 s, "
        f"{theirs.peak_per_100_ms / ours.peak_per_100_ms:.1f} in 0.1 s"
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2))


if __name__ == "__main__":
    main()
