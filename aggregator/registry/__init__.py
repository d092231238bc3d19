"""What the server knows of each device: rows that follow from messages, and how people find, mark and group devices."""

from aggregator.registry.backfilling import backfill
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
    SHOWN,
    DeviceView,
    Page,
    Request,
    as_plain,
    days_of,
    device_names,
    device_view,
    find_page,
    groups_of,
    list_page,
)
from aggregator.registry.overviews import LABELS_MIN, Overview, overview
from aggregator.registry.properties import set_note, set_tags
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
    "DeviceView",
    "GroupKind",
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
    "find_page",
    "group_kind",
    "group_size",
    "groups_of",
    "known_group",
    "list_page",
    "overview",
    "put_filter_group",
    "put_list_group",
    "resolved",
    "set_note",
    "set_tags",
]
