"""Declares what the service keeps in collections, a module for each part of it."""

from __future__ import annotations

from typing import Any

from aggregator.store.collection import Collection
from aggregator.store.rows.audit import AUDIT
from aggregator.store.rows.quarantine import QUARANTINED, QuarantineRow

# a collection is stored because it is named here; the conformance suite of the stores goes over it
EVERY: tuple[Collection[Any], ...] = (AUDIT, QUARANTINED)

__all__ = ["AUDIT", "EVERY", "QUARANTINED", "QuarantineRow"]
