"""Declares what the service keeps in collections, a module for each part of it."""

from __future__ import annotations

from typing import Any

from aggregator.store.collection import Collection
from aggregator.store.rows.audit import AUDIT
from aggregator.store.rows.enrolment import CERTIFICATES, JOIN_CODES, CertificateRow, JoinCodeRow
from aggregator.store.rows.quarantine import QUARANTINED, QuarantineRow
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
    AUDIT, CERTIFICATES, JOIN_CODES, ORDER_MODES, QUARANTINED, ROLLOUT_ACTS, ROLLOUT_DEVICES, ROLLOUTS, TRIALS
)  # fmt: skip

__all__ = [
    "AUDIT",
    "CERTIFICATES",
    "EVERY",
    "JOIN_CODES",
    "ORDER_MODES",
    "QUARANTINED",
    "ROLLOUTS",
    "ROLLOUT_ACTS",
    "ROLLOUT_DEVICES",
    "TRIALS",
    "CertificateRow",
    "JoinCodeRow",
    "OrderModeRow",
    "QuarantineRow",
    "RolloutActRow",
    "RolloutDeviceRow",
    "RolloutRow",
    "TrialRow",
]
