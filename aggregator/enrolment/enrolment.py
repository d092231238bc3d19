"""Decides who gets a certificate: codes, joins, renewals, revocations, each in one transaction of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aggregator.audit import local_user, record
from aggregator.enrolment.authority import Authority, Issued, Role, key_sha256, requested_key, signed_by
from aggregator.registry import put_list_group
from aggregator.store import Store
from aggregator.store.rows import CERTIFICATES, JOIN_CODES, CertificateRow, JoinCodeRow
from headway.errors import ConfigError, RemoteError, UnknownNameError
from headway.fields import JsonValue
from headway.joining import JoinAnswer, JoinCode, JoinRequest, RenewRequest, secret_sha256
from headway.wire import checked_name

CODE_COUNT_MAX = 1_000_000


class JoinRefused(RemoteError):
    """The device may not join; the message says why, and what its owner can do."""


@dataclass(frozen=True, slots=True)
class Broker:
    """What a device is told: fleet, where the broker is, and with which keys heads are sealed (`JoinAnswer`)."""

    fleet: str
    host: str
    port: int
    head_keys: tuple[str, ...] = ()


class Enrolment:
    """Over one store and one authority. days: for which a device's certificate is good.

    Every act is one transaction and may be repeated: a device that asks again with the same code and the same key gets
    the certificate it was given, and the code counts it once, wherever either side was killed.
    """

    def __init__(self, store: Store, authority: Authority, broker: Broker, days: int) -> None:
        self._store, self._authority, self._broker, self._days = store, authority, broker, days

    def new_code(self, device: str, groups: Sequence[str], count_max: int, now_s: float, lasts_s: float) -> JoinCode:
        """`put_code` in a transaction of its own, for the user of this machine."""
        with self._store.transaction():
            return self.put_code(local_user(), device, groups, count_max, now_s, lasts_s)

    def put_code(
        self, who: str, device: str, groups: Sequence[str], count_max: int, now_s: float, lasts_s: float
    ) -> JoinCode:
        """A code for `device`, or, where that is empty, for any `count_max` devices. In a transaction of the store.

        Raises ConfigError.
        """
        if device:
            checked_name(device, "device")
        if not 1 <= count_max <= CODE_COUNT_MAX:
            raise ConfigError(f"a code for {count_max} devices: give 1 to {CODE_COUNT_MAX:,}")
        if not lasts_s > 0:
            raise ConfigError(f"a code that lasts {lasts_s:g} s is of no use; give a longer time")
        code = JoinCode.new(self._authority.sha256)
        names = json.dumps(sorted(set(groups)))
        self._put_into(json.loads(names), (), now_s)
        row = JoinCodeRow(code.sha256, device, names, 0, count_max, now_s, now_s + lasts_s)
        self._store.rows(JOIN_CODES).put(row)
        # of the code only its digest: whoever reads the log must not be able to join
        detail: dict[str, JsonValue] = {"code_sha256": code.sha256, "count_max": count_max, "groups": names}
        record(self._store, who, "enroll", device, now_s, **detail)
        return code

    def join(self, request: JoinRequest, now_s: float) -> JoinAnswer:
        """Sign the first certificate of a device. Raises JoinRefused, RemoteError."""
        key = requested_key(request.request)
        digest = key_sha256(key)
        with self._store.transaction():
            codes, certificates = self._store.rows(JOIN_CODES), self._store.rows(CERTIFICATES)
            code = codes.get(secret_sha256(request.secret))
            if code is None:
                raise JoinRefused("this server does not know the join code; ask for one: edge-fleet enroll NAME")
            device = self._device(request.device, code)
            known = [row for row in certificates.where(key_sha256=digest) if row.revoked_s == 0.0]
            for row in known:
                if (row.device, row.code_sha256) == (device, code.sha256):
                    return self._answer(row)
            if known or certificates.where(key_sha256=digest):
                raise JoinRefused("the key of this request has been used before; join again with a new one")
            if now_s >= code.expires_s:
                raise JoinRefused("the join code has expired; ask for another one: edge-fleet enroll NAME")
            if code.used >= code.count_max:
                raise JoinRefused("the join code has been used; ask for another one: edge-fleet enroll NAME")
            if not code.device and certificates.where(device=device):
                # or whoever has a code for many could become any of them, and a device that was revoked come back
                raise JoinRefused(
                    f"a device named {device} has joined before; give another --name, or ask for a code of its own: "
                    f"edge-fleet enroll {device}"
                )
            try:
                self._put_into(json.loads(code.groups), (device,), now_s)
            except ConfigError as error:
                raise JoinRefused(str(error)) from error
            codes.put(replace(code, used=code.used + 1))
            issued = self._authority.issue(device, key, Role.CLIENT, now_s, self._days)
            record(self._store, f"code:{code.sha256[:16]}", "join", device, now_s, serial=issued.serial)
            return self._answer(self._record(issued, device, code.groups, code.sha256, digest, now_s))

    def renew(self, request: RenewRequest, now_s: float) -> JoinAnswer:
        """Sign the next certificate of a device that has a good one. Raises JoinRefused, RemoteError."""
        key = requested_key(request.request)
        digest = key_sha256(key)
        with self._store.transaction():
            certificates = self._store.rows(CERTIFICATES)
            present = certificates.get(request.serial)
            if present is None or not signed_by(present.certificate, request.signature, request.request.encode()):
                raise JoinRefused("the request is not signed with the key of a certificate of this server")
            if not _good(present, now_s):
                what = "revoked" if present.revoked_s else "over"
                raise JoinRefused(f"the certificate is {what}; join again: edge-fleet enroll {present.device}")
            for row in certificates.where(key_sha256=digest):
                if row.device == present.device and _good(row, now_s) and row.serial != present.serial:
                    return self._answer(row)
                raise JoinRefused("the key of this request has been used before; renew with a new one")
            issued = self._authority.issue(present.device, key, Role.CLIENT, now_s, self._days)
            return self._answer(self._record(issued, present.device, present.groups, "", digest, now_s))

    def revoke(self, device: str, now_s: float, who: str = "") -> int:
        """Revoke every certificate of a device and end the codes made for it; how many were good until now.

        who: for the audit log; by default the user of this machine. Raises UnknownNameError for a device that never
        had one.
        """
        with self._store.transaction():
            certificates, codes = self._store.rows(CERTIFICATES), self._store.rows(JOIN_CODES)
            rows = certificates.where(device=device)
            for code in codes.where(device=device):
                codes.put(replace(code, count_max=code.used))
            good = [row for row in rows if row.revoked_s == 0.0]
            for row in good:
                certificates.put(replace(row, revoked_s=now_s))
            if rows:
                record(self._store, who or local_user(), "revoke", device, now_s, certificates=len(good))
        if not rows:
            raise UnknownNameError(f"no device {device!r} has joined; edge-fleet certificates lists those that have")
        return len(good)

    def certificates(self) -> list[CertificateRow]:
        """Every certificate of a device that was ever issued."""
        with self._store.transaction():
            return self._store.rows(CERTIFICATES).all()

    def revoked(self, now_s: float) -> list[tuple[str, float]]:
        """Serial and time of revocation of what would else still be good."""
        with self._store.transaction():
            rows = self._store.rows(CERTIFICATES).all()
        return [(row.serial, row.revoked_s) for row in rows if row.revoked_s and row.expires_s > now_s]

    def _put_into(self, groups: Sequence[str], devices: Sequence[str], now_s: float) -> None:
        for group in groups:
            put_list_group(self._store, group, devices, (), now_s)

    @staticmethod
    def _device(asked: str, code: JoinCodeRow) -> str:
        if code.device and asked and asked != code.device:
            raise JoinRefused(f"the join code is for {code.device}, not for {asked}; leave --name out")
        if not code.device and not asked:
            raise JoinRefused("the join code is for several devices; give this one's name: --name NAME")
        try:
            return checked_name(code.device or asked, "device")
        except ConfigError as error:
            raise JoinRefused(str(error)) from error

    def _record(
        self, issued: Issued, device: str, groups: str, code_sha256: str, digest: str, now_s: float
    ) -> CertificateRow:
        row = CertificateRow(
            issued.serial, device, groups, code_sha256, digest, issued.pem, now_s, issued.expires_s, 0.0
        )
        self._store.rows(CERTIFICATES).put(row)
        return row

    def _answer(self, row: CertificateRow) -> JoinAnswer:
        broker, authority = self._broker, self._authority.pem.decode()
        return JoinAnswer(
            row.device, broker.fleet, row.certificate.decode(), authority, broker.host, broker.port, row.serial,
            row.expires_s, broker.head_keys,
        )  # fmt: skip


def _good(row: CertificateRow, now_s: float) -> bool:
    return row.revoked_s == 0.0 and now_s < row.expires_s
