"""Declares what the service keeps in collections, a module for each part of it."""

from __future__ import annotations

from typing import Any

from aggregator.store.collection import Collection
from aggregator.store.rows.audit import AUDIT, AuditRow
from aggregator.store.rows.enrolment import CERTIFICATES, JOIN_CODES, CertificateRow, JoinCodeRow
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
from aggregator.store.rows.rollouts import (
    ORDER_MODES,
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    TRIALS,
    OrderModeRow,
    RolloutActRow,
    RolloutDeviceRow,
    RolloutRow,
    TrialRow,
)
from aggregator.store.rows.spaces import SPACES, SpaceRow
from aggregator.store.rows.sums import RIPE, SUMS, RipeRow, SumRow

# a collection is stored because it is named here; the conformance suite of the stores goes over it
EVERY: tuple[Collection[Any], ...] = (
    AUDIT,
    CERTIFICATES,
    DAYS,
    GROUPS,
    JOIN_CODES,
    MEMBERS,
    ORDER_MODES,
    PROPERTIES,
    QUARANTINED,
    RIPE,
    ROLLOUTS,
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    SCORED_EPOCHS,
    SPACES,
    SUMS,
    TRIALS,
)

__all__ = [
    "ATTRIBUTE",
    "AUDIT",
    "CERTIFICATES",
    "DAYS",
    "EVERY",
    "GROUPS",
    "JOIN_CODES",
    "MEMBERS",
    "NOTE",
    "ORDER_MODES",
    "PROPERTIES",
    "QUARANTINED",
    "RIPE",
    "ROLLOUTS",
    "ROLLOUT_ACTS",
    "ROLLOUT_DEVICES",
    "SCORED_EPOCHS",
    "SPACES",
    "SUMS",
    "TAG",
    "TRIALS",
    "AuditRow",
    "CertificateRow",
    "DayRow",
    "GroupRow",
    "JoinCodeRow",
    "MemberRow",
    "OrderModeRow",
    "PropertyRow",
    "QuarantineRow",
    "RipeRow",
    "RolloutActRow",
    "RolloutDeviceRow",
    "RolloutRow",
    "ScoredEpochRow",
    "SpaceRow",
    "SumRow",
    "TrialRow",
]
