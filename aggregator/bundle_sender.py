"""Delivers bundles: records which device should run which, announces it at a bounded rate, serves byte ranges.

Nothing is queued and no file is held: each request is answered from the shelf, or with a time to come back. Under
load every request takes a place in one schedule, so devices take turns, whatever their number.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aggregator.effects import Effect, Instant, Note, Refused
from aggregator.policy import DeliveryPolicy
from aggregator.rates import Rates
from aggregator.store import DeliveryRow, Store
from aggregator.store.rows import ORDER_MODES, OrderModeRow
from headway.errors import RemoteError, StoreError
from headway.ports import Outgoing
from headway.wire import (
    AGGREGATOR,
    SWITCH,
    TENSORS_TYPE,
    WITHDRAWN,
    Desired,
    FileRange,
    Kind,
    RangeRequest,
    Reported,
    topic,
)

EVERYBODY = ""
# what stood for everybody before the rollout that ended last, which a roll-back brings back
BEFORE = "_before"
NOT_DEVICES = (EVERYBODY, AGGREGATOR, BEFORE)
SERIAL = "deliveries_serial"
FOLLOW_INTERVAL_S = 5.0
PATIENCE_S = 1.0
MINUTE_S = 60.0


class Shelf(Protocol):
    """Where the bundles' bytes lie, by the sha256 of the file."""

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """A range of a bundle. Raises StoreError when it is not there."""
        ...


class FileShelf:
    """Bundles as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.hwb"

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        try:
            descriptor = os.open(self.path(sha256), os.O_RDONLY)
            try:
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"cannot read bundle {self.path(sha256)}: {error.strerror or error}") from error


class BundleSender:
    """The orders of one fleet. Construct it, and call every method, inside a transaction of the store.

    serving: sha256 of the file of the bundle that the aggregator itself serves, and its feature space.
    """

    def __init__(
        self, fleet: str, store: Store, shelf: Shelf, policy: DeliveryPolicy, serving: tuple[str, str] = ("", "")
    ) -> None:
        self._fleet, self._store, self._shelf, self._policy = fleet, store, shelf, policy
        self._serving_sha256, self._serving_space = serving
        self._orders: dict[str, DeliveryRow] = {}
        self._unannounced: OrderedDict[str, None] = OrderedDict()
        self._places: dict[str, float] = {}
        self._rates = Rates(policy.requests_per_device_minute, MINUTE_S)
        self._free_at_s = self._announced_at_s = self._followed_at_s = float("-inf")
        self.superseded = False
        self._load()

    def seen(self, device: str) -> None:
        """A device said something; one that is new gets the order that stands for everybody."""
        everybody = self._orders.get(EVERYBODY)
        if device not in self._orders and everybody is not None and everybody.sha256:
            self._put(replace(everybody, device=device, done=False))
            self._unannounced[device] = None

    def forget(self, device: str) -> None:
        """The device was removed; should it come back, it is a new one."""
        self._orders.pop(device, None)
        self._unannounced.pop(device, None)
        self._places.pop(device, None)

    def again(self) -> None:
        """The broker may have lost what it retained: announce every order once more, at the usual pace."""
        self._unannounced.update((device, None) for device in self._orders if device not in NOT_DEVICES)

    def announce(self, device: str) -> None:
        """Its order once more, as it can be read now."""
        if device in self._orders:
            self._unannounced[device] = None

    def due(self) -> bool:
        """True when a device waits for its order."""
        return bool(self._unannounced)

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever time alone brings."""
        if self._store.number(SERIAL) != self._serial:
            self._load()
        self._follow(now)
        return self._announce(now)

    def on_request(self, device: str, payload: bytes, now: Instant) -> list[Effect]:
        """A device asks for a range. Raises RemoteError when it may not have it."""
        if not self._rates.take(device, now.monotonic_s):
            limit = self._policy.requests_per_device_minute
            raise Refused("rate", f"{device} asks for ranges more than {limit} times a minute")
        request, order = RangeRequest.decode(payload), self._orders.get(device)
        if order is None or request.sha256 != order.sha256:
            raise Refused("delivery", f"{device} asks for bundle {request.sha256[:16]}, which is not ordered for it")
        if request.offset >= order.size:
            raise Refused("delivery", f"{device} asks for byte {request.offset} of {order.size}")
        length = min(request.length, order.size - request.offset)
        wait_s = self._wait_s(device, length, now.monotonic_s)
        try:
            data = self._shelf.read(order.sha256, request.offset, length) if wait_s <= 0 else b""
        except StoreError as error:
            return [Note(str(error), warning=True)]
        answer = FileRange(order.sha256, request.offset, order.size, wait_s, data)
        return [Outgoing(topic(self._fleet, device, Kind.FILE), answer.encode(), content_type=TENSORS_TYPE)]

    def _wait_s(self, device: str, length: int, now_s: float) -> float:
        """0: serve it now. Else the time until its place in the schedule, which is kept for it."""
        place_s = self._places.pop(device, None)
        if place_s is None:
            place_s = max(now_s, self._free_at_s)
            self._free_at_s = place_s + length / self._policy.bytes_per_s
        if place_s <= now_s + PATIENCE_S:
            return 0.0
        self._places[device] = place_s
        return place_s - now_s

    def _announce(self, now: Instant) -> list[Effect]:
        """Publish what the next devices should run; as many as the pace allows since the last time."""
        if not self._unannounced:
            return []
        earned = (now.monotonic_s - self._announced_at_s) * self._policy.devices_per_s
        effects: list[Effect] = []
        for _ in range(int(min(max(self._policy.devices_per_s, 1.0), earned))):
            if not self._unannounced:
                break
            device, _none = self._unannounced.popitem(last=False)
            order = self._orders[device]
            mode = self._store.rows(ORDER_MODES).get(device)
            meant = SWITCH if mode is None else mode.mode
            desired = Desired(order.sha256, order.size, order.name, order.version, order.release, meant)
            payload = desired.encode() if order.sha256 else WITHDRAWN
            effects.append(Outgoing(topic(self._fleet, device, Kind.DESIRED), payload, retain=True))
            if not order.done:
                self._put(replace(order, done=True))
        if effects:
            self._announced_at_s = now.monotonic_s
        return effects

    def _follow(self, now: Instant) -> None:
        """Serve the bundle ordered for everybody: at once in the same feature space, else when most devices run it.

        After a roll-back, that of before: the configured one where nothing was ordered.
        """
        back = self._orders.get(AGGREGATOR)
        if back is not None and not back.done:
            self._put(replace(back, done=True))
            self.superseded = back.sha256 != self._serving_sha256
            return
        order = self._orders.get(EVERYBODY)
        if order is None or order.done or not order.sha256 or order.sha256 == self._serving_sha256:
            return
        if now.monotonic_s - self._followed_at_s < FOLLOW_INTERVAL_S:
            return
        self._followed_at_s = now.monotonic_s
        if order.space == self._serving_space or self._most_run(order):
            self._put(replace(order, done=True))
            self._put(replace(order, device=AGGREGATOR, done=True))
            self.superseded = True

    def _most_run(self, order: DeliveryRow) -> bool:
        there = known = 0
        for row in self._store.devices():
            try:
                reported = Reported.decode(row.reported) if row.reported else None
            except RemoteError:
                continue  # stored by a version that reported otherwise
            if reported is not None:
                known += 1
                there += reported.space == order.space and reported.release >= order.release
        return there * 2 > known

    def _load(self) -> None:
        self._serial = self._store.number(SERIAL)
        self._orders = {row.device: row for row in self._store.deliveries()}
        for row in self._orders.values():
            if row.device not in NOT_DEVICES and not row.done:
                self._unannounced[row.device] = None

    def _put(self, row: DeliveryRow) -> None:
        self._store.put_delivery(row)
        self._orders[row.device] = row


def order(
    store: Store,
    row: DeliveryRow,
    devices: list[str],
    *,
    everybody: bool,
    known: Callable[[], list[str]],
    mode: str = SWITCH,
) -> list[str]:
    """Write an order for the named devices, or for all, into the store; returns whom it is for.

    row: what is ordered; its device does not count. known: every device of the fleet. mode: how it is meant
    (`headway.wire.Desired`), in place of how the order before was.
    """
    targets = known() if everybody else devices
    modes = store.rows(ORDER_MODES)
    for device in [*targets, *([EVERYBODY] if everybody else [])]:
        store.put_delivery(replace(row, device=device, done=False))
        if mode == SWITCH:
            modes.remove(device)
        else:
            modes.put(OrderModeRow(device, mode))
    store.put_number(SERIAL, store.number(SERIAL) + 1)
    return targets
