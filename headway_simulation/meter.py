"""Counts the messages, bytes and commits of a simulated fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from headway.wire import parse_topic
from headway_simulation.clock import Scheduler
from headway_simulation.device import SimulatedDevice
from headway_simulation.server import NAME, SimulatedServer

DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class Load:
    """Bytes are payload and topic; headers of MQTT, TCP and TLS come on top, about 100 bytes a message.

    converge_s: from the end of the partition until the aggregator had all that was learned before; None without one,
    or when the run ended first. messages: by kind, as the broker received them.
    """

    labels: int
    broker_in_mean_per_s: float
    broker_out_mean_per_s: float
    broker_peak_per_s: int
    up_bytes_per_device_day: float
    down_bytes_per_device_day: float
    up_bytes_per_device_day_max: float
    aggregator_messages_mean_per_s: float
    aggregator_messages_peak_per_s: int
    aggregator_commits: int
    heads: int
    outbox_rows_peak: int
    outbox_bytes_peak: int
    converge_s: float | None
    messages: dict[str, int]

    def text(self) -> str:
        """For people."""
        converge = "no partition" if self.converge_s is None else f"{self.converge_s:.0f} s"
        rows = [
            ("labels learned", f"{self.labels}"),
            ("broker, messages in", f"{self.broker_in_mean_per_s:.3f} /s mean"),
            ("broker, messages out", f"{self.broker_out_mean_per_s:.3f} /s mean"),
            ("broker, in and out", f"{self.broker_peak_per_s} /s peak"),
            ("a device sends", f"{_bytes(self.up_bytes_per_device_day)} a day, {_most(self)} at most"),
            ("a device receives", f"{_bytes(self.down_bytes_per_device_day)} a day"),
            ("aggregator, messages in", f"{self.aggregator_messages_mean_per_s:.3f} /s mean, "
             f"{self.aggregator_messages_peak_per_s} /s peak"),
            ("aggregator, commits", f"{self.aggregator_commits}"),
            ("heads published", f"{self.heads}"),
            ("outbox of a device", f"{self.outbox_rows_peak} rows, {_bytes(self.outbox_bytes_peak)} at most"),
            ("converged after the partition", converge),
            ("messages by kind", ", ".join(f"{kind} {count}" for kind, count in sorted(self.messages.items()))),
        ]  # fmt: skip
        return "\n".join(f"{name:<32}{value}" for name, value in rows)


class Meter:
    """Listens to the broker, the devices and the aggregator of one run."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._seconds: Counter[int] = Counter()
        self._aggregator_seconds: Counter[int] = Counter()
        self._directions: Counter[str] = Counter()
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._kinds: Counter[str] = Counter()
        self._labels: dict[str, int] = {}
        self._outbox_rows = self._outbox_bytes = 0
        self._healed_s: float | None = None
        self._converged_s: float | None = None
        self._missing: dict[tuple[str, int], tuple[int, int]] = {}

    def message(self, direction: str, client: str, topic: str, payload_bytes: int) -> None:
        """The broker received or delivered a message."""
        second = int(self._scheduler.now_s)
        self._seconds[second] += 1
        self._directions[direction] += 1
        self._bytes[client, direction] += payload_bytes + len(topic)
        if direction == "in":
            self._kinds[str(parse_topic(topic).kind)] += 1
        elif client == NAME:
            self._aggregator_seconds[second] += 1

    def device(self, device: SimulatedDevice) -> None:
        """A device took a step."""
        if device.loop is not None:
            self._labels[device.name] = device.loop.agent.learner.labels
            rows, size = device.store.outbox_size()
            self._outbox_rows, self._outbox_bytes = max(self._outbox_rows, rows), max(self._outbox_bytes, size)

    def server(self, server: SimulatedServer) -> None:
        """The aggregator took a step."""
        if self._healed_s is None or self._converged_s is not None:
            return
        for key, (counter, sequence) in list(self._missing.items()):
            row = server.kept.statistics.get(key)
            stored = row.counter if row is not None else 0
            if (stored >= counter or sequence) and server.kept.sequences.get(key, 0) >= sequence:
                del self._missing[key]
        if not self._missing:
            self._converged_s = self._scheduler.now_s

    def healed(self, devices: Sequence[SimulatedDevice]) -> None:
        """The partition is over; from now on it is counted how long it takes until all is told."""
        self._healed_s = self._scheduler.now_s
        for device in devices:
            if device.loop is not None:
                state = device.loop.agent.sync_state
                self._missing[device.name, state.epoch] = state.counter, state.sequence

    def load(self, hours: float, devices: Sequence[str], server: SimulatedServer) -> Load:
        """The figures of the run."""
        seconds, days = hours * 3600, hours / DAY_H
        up = [self._bytes[name, "in"] / days for name in devices]
        down = [self._bytes[name, "out"] / days for name in devices]
        converged = self._converged_s is not None and self._healed_s is not None
        return Load(
            labels=sum(self._labels.values()),
            broker_in_mean_per_s=self._directions["in"] / seconds,
            broker_out_mean_per_s=self._directions["out"] / seconds,
            broker_peak_per_s=max(self._seconds.values(), default=0),
            up_bytes_per_device_day=sum(up) / len(up),
            down_bytes_per_device_day=sum(down) / len(down),
            up_bytes_per_device_day_max=max(up),
            aggregator_messages_mean_per_s=sum(self._aggregator_seconds.values()) / seconds,
            aggregator_messages_peak_per_s=max(self._aggregator_seconds.values(), default=0),
            aggregator_commits=server.commits,
            heads=server.heads,
            outbox_rows_peak=self._outbox_rows,
            outbox_bytes_peak=self._outbox_bytes,
            converge_s=(self._converged_s or 0.0) - (self._healed_s or 0.0) if converged else None,
            messages=dict(self._kinds),
        )


def _most(load: Load) -> str:
    return _bytes(load.up_bytes_per_device_day_max)


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
