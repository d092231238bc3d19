"""What the server knows of each device: rows that follow from messages, and how people find, mark and group devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from aggregator.registry.backfilling import backfill, lacks_rows
    from aggregator.registry.groups import (
        GroupKind,
        delete_group,
        group_kind,
        group_size,
        known_group,
        put_filter_group,
        put_list_group,
        resolved,
    )
    from aggregator.registry.happenings import COUNTED, DRIFT, GATE, REASONS, REFUSED, bounded
    from aggregator.registry.listing import (
        DeviceView,
        Page,
        as_plain,
        days_of,
        device_names,
        device_view,
        find_page,
        groups_of,
        list_page,
    )
    from aggregator.registry.marks import Marks
    from aggregator.registry.overviews import LABELS_MIN, Overview, overview
    from aggregator.registry.properties import set_note, set_tags
    from aggregator.registry.requests import SHOWN, Request
    from aggregator.registry.tables import DeviceTable, find_json, find_table, table_of
    from aggregator.registry.vocabulary import VOCABULARY

__all__ = [
    "COUNTED",
    "DRIFT",
    "GATE",
    "LABELS_MIN",
    "REASONS",
    "REFUSED",
    "SHOWN",
    "VOCABULARY",
    "DeviceTable",
    "DeviceView",
    "GroupKind",
    "Marks",
    "Overview",
    "Page",
    "Request",
    "as_plain",
    "backfill",
    "bounded",
    "days_of",
    "delete_group",
    "device_names",
    "device_view",
    "find_json",
    "find_page",
    "find_table",
    "group_kind",
    "group_size",
    "groups_of",
    "known_group",
    "lacks_rows",
    "list_page",
    "overview",
    "put_filter_group",
    "put_list_group",
    "resolved",
    "set_note",
    "set_tags",
    "table_of",
]
WHERE = {
    "backfilling": "backfill lacks_rows",
    "groups": "GroupKind delete_group group_kind group_size known_group put_filter_group put_list_group resolved",
    "happenings": "COUNTED DRIFT GATE REASONS REFUSED bounded",
    "listing": ("DeviceView Page as_plain days_of device_names device_view find_page groups_of list_page"),
    "marks": "Marks",
    "overviews": "LABELS_MIN Overview overview",
    "properties": "set_note set_tags",
    "requests": "Request SHOWN",
    "tables": "DeviceTable find_json find_table table_of",
    "vocabulary": "VOCABULARY",
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
