"""What a region tells its parent and hears of it, without I/O: its sum goes up as one report, heads come down.

What counts in the region's head is one cumulative report of the device that the region is to its parent. Whatever
changes it (labels, a device that is removed or set aside) makes the next report, which takes the place of the last one;
so a removal reaches the root with it, and however many regions stand between, the root's sum is that of all devices.

Counters only grow. A store that is of an older day learns from the parent's ack how far they had come, and goes on from
there with the sum that it has: the parent then holds what the region holds.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from aggregator.effects import Instant, Note, Upward
from aggregator.partial_sum import PartialSum
from aggregator.region_settings import RegionSettings
from aggregator.regions.below import RegionsBelow
from aggregator.regions.numbers import COUNTER, EPOCH, PLACE, REPORTED
from aggregator.store import Store
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.ports import Outgoing, Received
from headway.wire import (
    ALL,
    MESSAGE_BYTES_MAX,
    TENSORS_TYPE,
    Ack,
    Kind,
    PublishedHead,
    StatisticsReport,
    split_report,
    topic,
    with_regions,
)

EPOCH_BITS, DIGEST_BYTES = 48, 7


class Region:
    """Of one server. Every method must run inside a transaction of the store. draw: makes the number of an epoch."""

    def __init__(self, settings: RegionSettings, store: Store, draw: random.Random | None = None) -> None:
        self._settings, self._store = settings, store
        self._draw = random.SystemRandom() if draw is None else draw
        self._below = RegionsBelow(store)
        self._ack_topic = topic(settings.fleet, settings.name, Kind.ACK)
        self._head_topic = topic(settings.fleet, ALL, Kind.HEAD)
        self._acked = -1
        self._sent_at_s = float("-inf")
        self._looked_at: Statistics | None = None
        self._head: PublishedHead | None = None
        if not store.number(EPOCH):
            self._begin_epoch()
            self._below.look_back()

    def take_head(self) -> PublishedHead | None:
        """The parent's newest head, once; None for none that is new."""
        head, self._head = self._head, None
        return head

    def connected(self) -> None:
        """The parent's broker is there: whether the last report was heard is asked by sending it again."""
        self._acked, self._sent_at_s = -1, float("-inf")

    def receive(self, message: Received) -> list[Note]:
        """A message of the parent."""
        try:
            if message.topic == self._head_topic and message.payload:
                self._head = PublishedHead.decode(message.payload)
            elif message.topic == self._ack_topic:
                return self._on_ack(Ack.decode(message.payload))
        except RemoteError as error:
            return [Note(f"the parent sent what cannot be read, on {message.topic}: {error}", warning=True)]
        return []

    def tick(self, counting: Callable[[], Statistics], now: Instant) -> list[Upward | Note]:
        """The report that is due. counting: what counts in this region's head; dear, so asked for when one is due."""
        if now.monotonic_s - self._sent_at_s < self._settings.interval_s:
            return []
        counted, counter = counting(), self._store.number(COUNTER)
        if counted is not self._looked_at:
            digest = _digest(counted)
            if digest != self._store.number(REPORTED):
                counter += 1
                self._store.put_number(COUNTER, counter)
                self._store.put_number(REPORTED, digest)
            self._looked_at = counted
        if self._acked >= counter:
            return []
        self._sent_at_s = now.monotonic_s
        report = StatisticsReport(self._settings.name, self._store.number(EPOCH), counter, counted)
        payload = with_regions(report.encode(), self._below.all())
        parts = [payload] if len(payload) <= MESSAGE_BYTES_MAX else split_report(report, payload)
        name = topic(self._settings.fleet, self._settings.name, Kind.STATISTICS)
        # retained, as a device's are, but for parts
        retain = len(parts) == 1
        sent = [Upward(Outgoing(name, part, retain=retain, content_type=TENSORS_TYPE)) for part in parts]
        return [*self._place(), *sent]

    def _place(self) -> list[Note]:
        """What a person has to be told who has given this region another name, or another parent's fleet."""
        place = _number(f"{self._settings.fleet}/{self._settings.name}".encode())
        before = self._store.number(PLACE)
        if before == place:
            return []
        self._store.put_number(PLACE, place)
        if not before:
            return []
        told = (
            "this region reported under another name, or to another fleet, before: its devices count there, too, until "
            "edge-fleet remove NAME at that parent"
        )
        return [Note(told, warning=True)]

    def _on_ack(self, ack: Ack) -> list[Note]:
        if ack.refused:
            return [Note(f"the parent refuses this region's report: {ack.refused}: {ack.problem}", warning=True)]
        if ack.epoch != self._store.number(EPOCH):
            return []
        if ack.removed:
            self._begin_epoch()
            return [Note("the parent has removed this region; it reports again, under a new epoch", warning=True)]
        counter = self._store.number(COUNTER)
        if ack.counter > counter:
            self._go_on_from(ack.counter)
            return [Note(f"the parent holds report {ack.counter}, the store knows of {counter}; going on from there")]
        if ack.counter < self._acked:
            # it lost its store
            self._sent_at_s = float("-inf")
        self._acked = ack.counter
        return []

    def _begin_epoch(self) -> None:
        self._store.put_number(EPOCH, 1 + self._draw.getrandbits(EPOCH_BITS))
        self._go_on_from(0)

    def _go_on_from(self, counter: int) -> None:
        """The next report has a higher counter, whatever is in it."""
        self._store.put_number(COUNTER, counter)
        self._store.put_number(REPORTED, 0)
        self._acked, self._looked_at, self._sent_at_s = -1, None, float("-inf")


def region_subscriptions(settings: RegionSettings) -> tuple[str, ...]:
    """What a region listens to at its parent's broker."""
    ack, head = topic(settings.fleet, settings.name, Kind.ACK), topic(settings.fleet, ALL, Kind.HEAD)
    return (ack, head) if settings.heads else (ack,)


def _digest(tables: Statistics) -> int:
    """A number that stands for tables, which the store can hold; 0 for none of them."""
    return _number(PartialSum(tables.classes, tables).encode())


def _number(content: bytes) -> int:
    return 1 + int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), "little")
