"""Declares the audit log: who did what to the fleet, each entry bound to the one before it."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act. number: from 1, without gaps. who: of a user, a token or `local:` and a user of this machine.

    act, subject: what was done to what; detail: JSON text; at_s: wall clock. sha256: over this entry and the digest of
    the one before, so that a changed, missing or added entry shows.
    """

    number: int
    who: str
    act: str
    subject: str
    detail: str
    at_s: float
    sha256: str


AUDIT = Collection("audit", AuditRow, ("number",))
