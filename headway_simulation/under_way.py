"""Finds what the broker has for a client that comes back without its disk."""

from __future__ import annotations

from collections.abc import Iterator

from headway.errors import RemoteError
from headway.maths import Statistics
from headway.wire import Kind, StatisticsReport, parse_topic
from headway_simulation.ledger import Key
from headway_simulation.machine import Place


def tables_waiting(place: Place, client: str) -> Iterator[tuple[Key, int, Statistics]]:
    """Whole tables that the client has still to get, with their counter."""
    for message in place.broker.waiting(client):
        if not message.payload or parse_topic(message.topic).kind is not Kind.STATISTICS:
            continue
        try:
            report = StatisticsReport.decode(message.payload)
        except RemoteError:
            continue  # a change, or a part: nothing without what came before
        yield (report.device, report.epoch), report.counter, report.statistics.with_classes(place.model.all_classes)
