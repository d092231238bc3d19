"""Keeps one row per device: whether it is online, what it reports, and what was refused from it.

Rows changed by a batch are held until `flush`, so that a chatty device costs one write per transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aggregator.effects import Instant, Note, Refused
from aggregator.places import HOUR_S, Places
from aggregator.policy import Limits
from aggregator.rates import Rates
from aggregator.store import DeviceRow, EventRow, RefusalRow, Store
from headway.errors import RemoteError
from headway.fields import canonical_json
from headway.maths import SUMS, Task
from headway.wire import Event, Metrics, Reported, Status

UNKNOWN_DEVICE = ""


class Registry:
    """Keeps the device rows. Every method must run inside a transaction of the store."""

    def __init__(self, store: Store, limits: Limits, class_count: int, task: Task = Task.CLASSIFICATION) -> None:
        self._store = store
        self._limits = limits
        self._class_count, self._task = class_count, task
        self._classes_max = limits.classes_max if task is Task.CLASSIFICATION else class_count
        self._rows: dict[str, DeviceRow] = {}
        self._places = Places(store, limits)
        self._events = Rates(limits.events_per_device_hour, HOUR_S)

    def admit(self, device: str, now: Instant, contributes: bool = False) -> DeviceRow:
        """The device's row, a fresh one for a new device. Raises Refused when there is no place for it.

        contributes: the message holds statistics or updates that can be read.
        """
        if device not in self._rows:
            row = self._store.device(device)
            if row is None:
                self.flush()
                self._places.take(contributes, now)
                row = DeviceRow(device, first_seen_s=now.wall_s, last_seen_s=now.wall_s)
                self._store.put_device(row)
            self._rows[device] = row
        return self._rows[device]

    def take_forgotten(self) -> list[str]:
        """Devices that gave their place to others since the last call."""
        return self._places.take_forgotten()

    def change(self, device: str, now: Instant, **values: Any) -> None:
        """Set columns of an admitted device's row."""
        self._rows[device] = replace(self.admit(device, now), last_seen_s=now.wall_s, **values)

    def flush(self) -> None:
        """Write the changed rows."""
        for row in self._rows.values():
            self._store.put_device(row)
        self._rows.clear()

    def on_status(self, device: str, payload: bytes, now: Instant) -> None:
        status = Status.decode(payload)
        # the last will of a dead connection can arrive after the greeting of the process that followed it
        if status.online or status.boot >= self.admit(device, now).boot:
            self.change(device, now, online=status.online, boot=status.boot)

    def on_reported(self, device: str, payload: bytes, now: Instant) -> None:
        # what is stored was checked when it came, and devices repeat themselves
        row = self._known(device)
        if row is None or payload != row.reported:
            Reported.decode(payload)
        self.change(device, now, reported=payload)

    def on_metrics(self, device: str, payload: bytes, now: Instant) -> None:
        stored = self._known(device)
        if stored is not None and payload == stored.metrics and stored.class_count >= self._class_count:
            self.change(device, now)
            return
        # a device may know more classes than the bundle
        metrics = Metrics.decode(payload, self._class_count, self._classes_max)
        if not isinstance(metrics.served, SUMS[self._task]):
            raise RemoteError(f"metrics are not those of a {self._task} model, which the fleet's bundle is")
        row = self.admit(device, now)
        if metrics.epoch == row.metrics_epoch and metrics.counter < row.metrics_counter:
            return
        epoch, counter = metrics.epoch, metrics.counter
        sums = {"metrics": payload, "metrics_epoch": epoch, "metrics_counter": counter}
        self.change(device, now, **sums, class_count=metrics.class_count)

    def on_event(self, device: str, payload: bytes, now: Instant) -> None:
        event = Event.decode(payload)
        self.change(device, now)
        if not self._events.take(device, now.monotonic_s):
            limit = self._limits.events_per_device_hour
            raise Refused("rate", f"{device} sends more than {limit} events an hour; {event.name!r} is not kept")
        self._record(device, event.name, event.detail, now)

    def refuse(self, device: str, error: RemoteError, now: Instant) -> Note | None:
        """Count a refusal; record it and give a line for the log when the count reaches a power of two.

        Senders that are not in the fleet share one name, so that invented names cannot fill the store.
        """
        reason = error.reason if isinstance(error, Refused) else "malformed"
        known = self._known(device) is not None
        counted_as, problem = device if known else UNKNOWN_DEVICE, str(error)[:400]
        count = self._store.count_refusal(RefusalRow(counted_as, reason, 1, problem, now.wall_s))
        if count & (count - 1):
            return None
        self._record(counted_as, f"refused-{reason}", {"problem": problem, "count": count}, now)
        return Note(f"refused from {device or 'an unknown sender'} ({reason}, {count} so far): {problem}", warning=True)

    def newest_epoch(self, device: str) -> int:
        """The epoch of the statistics or updates taken last; 0 for none."""
        row = self._known(device)
        return 0 if row is None else row.epoch

    def _known(self, device: str) -> DeviceRow | None:
        return self._rows.get(device) or self._store.device(device)

    def _record(self, device: str, name: str, detail: Mapping[str, object], now: Instant) -> None:
        text = canonical_json(detail).decode()
        if len(text.encode()) > self._limits.event_bytes_max:
            # a quarter of the bytes: no character takes more than four
            text = canonical_json({"cut": text[: self._limits.event_bytes_max // 4], "bytes": len(text)}).decode()
        self._store.add_event(EventRow(device, name, text, now.wall_s), self._limits.events_max)
