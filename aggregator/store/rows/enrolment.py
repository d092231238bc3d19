"""Declares what is kept of enrolment: join codes, by their hash, and every certificate that was issued."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class JoinCodeRow:
    """One code. device: whom it is for; empty: whoever has it. groups: JSON list of names.

    used, count_max: devices that joined with it, and how many may; expires_s, created_s: wall clock.
    """

    sha256: str
    device: str
    groups: str
    used: int
    count_max: int
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate. serial, key_sha256: hexadecimal; code_sha256: of the code it was issued for, empty without one.

    certificate: PEM; issued_s, expires_s: wall clock; revoked_s: likewise, 0 while it is good. The row stays when its
    device is removed: a list of revoked certificates must not forget one.
    """

    serial: str
    device: str
    groups: str
    code_sha256: str
    key_sha256: str
    certificate: bytes
    issued_s: float
    expires_s: float
    revoked_s: float


JOIN_CODES = Collection("join_codes", JoinCodeRow, ("sha256",))
CERTIFICATES = Collection("certificates", CertificateRow, ("serial",), indexed=("device", "key_sha256"))
