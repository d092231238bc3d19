"""Declares what the service keeps in collections, a module for each part of it."""

from __future__ import annotations

from typing import Any

from aggregator.store.collection import Collection
from aggregator.store.rows.audit import AUDIT
from aggregator.store.rows.quarantine import QUARANTINED, QuarantineRow
from aggregator.store.rows.registry import (
    ATTRIBUTE,
    DAYS,
    GROUPS,
    MEMBERS,
    NOTE,
    PROPERTIES,
    SCORED_EPOCHS,
    TAG,
    DayRow,
    GroupRow,
    MemberRow,
    PropertyRow,
    ScoredEpochRow,
)

# a collection is stored because it is named here; the conformance suite of the stores goes over it
EVERY: tuple[Collection[Any], ...] = (AUDIT, QUARANTINED, PROPERTIES, GROUPS, MEMBERS, DAYS, SCORED_EPOCHS)

__all__ = [
    "ATTRIBUTE",
    "AUDIT",
    "DAYS",
    "EVERY",
    "GROUPS",
    "MEMBERS",
    "NOTE",
    "PROPERTIES",
    "QUARANTINED",
    "SCORED_EPOCHS",
    "TAG",
    "DayRow",
    "GroupRow",
    "MemberRow",
    "PropertyRow",
    "QuarantineRow",
    "ScoredEpochRow",
]
