"""Commands of edge-fleet beside `serve`: devices, deliver, deliveries."""

from aggregator.commands.deliver import deliver_bundle, list_deliveries, serving, shelf_of
from aggregator.commands.devices import as_json, as_table, summarise

__all__ = [
    "as_json",
    "as_table",
    "deliver_bundle",
    "list_deliveries",
    "serving",
    "shelf_of",
    "summarise",
]
