"""Declares what the service keeps in collections, a module for each part of it."""

from __future__ import annotations

from typing import Any

from aggregator.store.collection import Collection
from aggregator.store.rows.access import DONE_ACTS, TOKENS, USERS, DoneActRow, TokenRow, UserRow
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

# a collection is stored because it is named here; the conformance suite of the stores goes over it
EVERY: tuple[Collection[Any], ...] = (
    AUDIT,
    CERTIFICATES,
    DAYS,
    DONE_ACTS,
    GROUPS,
    JOIN_CODES,
    MEMBERS,
    ORDER_MODES,
    PROPERTIES,
    QUARANTINED,
    ROLLOUTS,
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    SCORED_EPOCHS,
    TOKENS,
    TRIALS,
    USERS,
)

__all__ = [
    "ATTRIBUTE",
    "AUDIT",
    "CERTIFICATES",
    "DAYS",
    "DONE_ACTS",
    "EVERY",
    "GROUPS",
    "JOIN_CODES",
    "MEMBERS",
    "NOTE",
    "ORDER_MODES",
    "PROPERTIES",
    "QUARANTINED",
    "ROLLOUTS",
    "ROLLOUT_ACTS",
    "ROLLOUT_DEVICES",
    "SCORED_EPOCHS",
    "TAG",
    "TOKENS",
    "TRIALS",
    "USERS",
    "AuditRow",
    "CertificateRow",
    "DayRow",
    "DoneActRow",
    "GroupRow",
    "JoinCodeRow",
    "MemberRow",
    "OrderModeRow",
    "PropertyRow",
    "QuarantineRow",
    "RolloutActRow",
    "RolloutDeviceRow",
    "RolloutRow",
    "ScoredEpochRow",
    "TokenRow",
    "TrialRow",
    "UserRow",
]
