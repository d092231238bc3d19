"""Takes over from the store that a backup replaces what is true whatever the backup says.

Devices hold certificates and codes that were given out, users their tokens, and whoever was shut out must stay out;
versions of heads must not come again; and the audit log tells of acts that did happen. What devices learned needs
nothing of this: they and the broker still hold it, and send it again when they hear how far the server is.
"""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.audit import COUNT, entries
from aggregator.core import BOOT
from aggregator.heads import VERSION_FLOOR
from aggregator.store import Store
from aggregator.store.rows import (
    AUDIT,
    CERTIFICATES,
    JOIN_CODES,
    TOKENS,
    TOLD_PRIORS,
    USERS,
    AuditRow,
    CertificateRow,
    JoinCodeRow,
    TokenRow,
    ToldPriorRow,
    UserRow,
)


@dataclass(frozen=True, slots=True)
class WorldFacts:
    """What a store knew that holds on when the store is set back. version: the highest of a head that was published."""

    users: tuple[UserRow, ...]
    tokens: tuple[TokenRow, ...]
    certificates: tuple[CertificateRow, ...]
    codes: tuple[JoinCodeRow, ...]
    log: tuple[AuditRow, ...]
    told: tuple[ToldPriorRow, ...]
    boot: int
    version: int

    @classmethod
    def of(cls, store: Store) -> WorldFacts:
        """Read them."""
        with store.transaction():
            newest = store.head()
            return cls(
                tuple(store.rows(USERS).all()),
                tuple(store.rows(TOKENS).all()),
                tuple(store.rows(CERTIFICATES).all()),
                tuple(store.rows(JOIN_CODES).all()),
                tuple(entries(store)),
                tuple(store.rows(TOLD_PRIORS).all()),
                store.number(BOOT),
                max(store.number(VERSION_FLOOR), 0 if newest is None else newest.version),
            )

    def put_into(self, store: Store) -> list[AuditRow]:
        """In a transaction of the store that takes the other's place. Returns the acts that it does not know of.

        They are entered in its log where that is the beginning of theirs.
        """
        # a token that was revoked, or a user who was removed, is a row that is gone
        store.rows(USERS).remove()
        store.rows(TOKENS).remove()
        for user in self.users:
            store.rows(USERS).put(user)
        for token in self.tokens:
            store.rows(TOKENS).put(token)
        for certificate in self.certificates:
            store.rows(CERTIFICATES).put(certificate)
        for code in self.codes:
            store.rows(JOIN_CODES).put(code)
        for told in self.told:
            store.rows(TOLD_PRIORS).put(told)
        store.put_number(BOOT, max(self.boot, store.number(BOOT)))
        newest = store.head()
        if self.version > (0 if newest is None else newest.version):
            store.put_number(VERSION_FLOOR, max(self.version, store.number(VERSION_FLOOR)))
        return self._continue_log(store)

    def _continue_log(self, store: Store) -> list[AuditRow]:
        count = store.number(COUNT)
        last = store.rows(AUDIT).get(count)
        begins_so = count == 0 or (len(self.log) >= count and self.log[count - 1] == last)
        if not begins_so:
            return [row for row in self.log if last is None or row.at_s > last.at_s]
        later = list(self.log[count:])
        for row in later:
            store.rows(AUDIT).put(row)
        store.put_number(COUNT, count + len(later))
        return later
