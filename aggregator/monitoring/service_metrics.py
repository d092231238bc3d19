"""Counts what the service does since it started, as Prometheus has it. Implements `aggregator.monitoring.Watch`."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

import headway
from headway.ports import Connected, Delivered, Disconnected, NotSubscribed, Outgoing, Received, TransportEvent
from headway.wire import FROM_DEVICES, TO_DEVICES, TO_EVERY_DEVICE, Kind

TRANSACTION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECEIVED = tuple(map(str, FROM_DEVICES))
SENT = tuple(map(str, dict.fromkeys((*TO_DEVICES, *TO_EVERY_DEVICE, Kind.STATUS))))
OTHER = "other"


class ServiceMetrics:
    """Everything is in `registry`, from which any thread may read."""

    def __init__(self) -> None:
        # a series more for each counter, which nothing here needs
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        build = Gauge("headway_build_info", "Version of the service.", ["version"], registry=registry)
        build.labels(headway.__version__).set(1)
        self._received = Counter(
            "headway_messages_received", "Messages that were taken from the broker.", ["kind"], registry=registry
        )
        self._received_bytes = Counter(
            "headway_received_bytes", "Bytes of their topics and payloads.", ["kind"], registry=registry
        )
        self._sent = Counter(
            "headway_messages_sent", "Messages that were handed to the broker.", ["kind"], registry=registry
        )
        self._sent_bytes = Counter(
            "headway_sent_bytes", "Bytes of their topics and payloads.", ["kind"], registry=registry
        )
        self._unsent = Counter(
            "headway_messages_unsent", "Messages that could not be sent for want of a connection.", registry=registry
        )
        self._connects = Counter("headway_broker_connects", "Connections that the broker accepted.", registry=registry)
        self._connected = Gauge(
            "headway_broker_connected", "1 while there is a connection to the broker.", registry=registry
        )
        self._refused = Counter(
            "headway_broker_refusals", "Messages and subscriptions that the broker refused.", registry=registry
        )
        self._full = Counter(
            "headway_message_queue_full_seconds",
            "Seconds for which the connection waited for room in the queue of messages.",
            registry=registry,
        )  # fmt: skip
        self._transaction = Histogram(
            "headway_store_transaction_seconds",
            "Time of one transaction of the service, its commit included.",
            buckets=TRANSACTION_BOUNDS_S,
            registry=registry,
        )
        for kind in (*RECEIVED, OTHER):
            self._received.labels(kind)
            self._received_bytes.labels(kind)
        for kind in (*SENT, OTHER):
            self._sent.labels(kind)
            self._sent_bytes.labels(kind)
        self._waited_before_s = 0.0

    def turned(self, events: Sequence[TransportEvent], transaction_s: float | None, waited_s: float) -> None:
        if transaction_s is not None:
            self._transaction.observe(transaction_s)
        self._full.inc(max(waited_s - self._waited_before_s, 0.0))
        self._waited_before_s = waited_s
        for event in events:
            match event:
                case Received(topic, payload):
                    kind = _kind(topic, RECEIVED)
                    self._received.labels(kind).inc()
                    self._received_bytes.labels(kind).inc(len(topic) + len(payload))
                case Connected():
                    self._connects.inc()
                    self._connected.set(1)
                case Disconnected():
                    self._connected.set(0)
                case Delivered(refused=True) | NotSubscribed():
                    self._refused.inc()

    def sent(self, message: Outgoing, taken: bool) -> None:
        if not taken:
            self._unsent.inc()
            return
        kind = _kind(message.topic, SENT)
        self._sent.labels(kind).inc()
        self._sent_bytes.labels(kind).inc(len(message.topic) + len(message.payload))


def _kind(topic: str, known: tuple[str, ...]) -> str:
    """Of a message, by its topic; a topic that is none is of no kind."""
    levels = topic.split("/")
    return levels[4] if len(levels) == 5 and levels[4] in known else OTHER
