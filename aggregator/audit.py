"""Keeps the audit log: every act on the fleet, each entry bound to the one before it by its digest.

An entry is written in the transaction of its act, so that there is none without the other. A changed, missing or added
entry shows in `problems`; so does an end that was cut off, because the store counts the entries beside them. Whoever
can write the whole database can also write another chain: keep exported digests elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterator

from aggregator.store import Store
from aggregator.store.rows import AUDIT, AuditRow
from headway.fields import JsonValue, canonical_json

# under which the store counts the entries
COUNT = "audit_entries"
PAGE = 500
NAMES_MAX = 100


def record(store: Store, who: str, act: str, subject: str, at_s: float, **detail: JsonValue) -> AuditRow:
    """Add an entry, in the transaction of the act. at_s: wall clock; other arguments as in `AuditRow`."""
    number = store.number(COUNT) + 1
    before = store.rows(AUDIT).get(number - 1)
    row = AuditRow(number, who, act, subject, canonical_json(detail).decode(), at_s, "")
    row = AuditRow(number, who, act, subject, row.detail, at_s, digest(row, before.sha256 if before else ""))
    store.rows(AUDIT).put(row)
    store.put_number(COUNT, number)
    return row


def entries(store: Store) -> Iterator[AuditRow]:
    """All of them, the oldest first. In a transaction."""
    after: tuple[int, ...] = ()
    while page := store.rows(AUDIT).all(after=after, count_max=PAGE):
        yield from page
        after = (page[-1].number,)


def problems(store: Store) -> list[str]:
    """What is wrong with the chain, a line for each place; empty when it holds. In a transaction."""
    found = []
    expected, before = 1, ""
    for row in entries(store):
        if row.number != expected:
            found.append(f"entry {expected} is missing: {row.number} comes in its place")
        elif row.sha256 != digest(row, before):
            found.append(f"entry {row.number} does not follow from the one before: it, or that one, was changed")
        expected, before = row.number + 1, row.sha256
    if expected - 1 != store.number(COUNT):
        found.append(f"{store.number(COUNT)} entries were written, the last one there is {expected - 1}")
    return found


def digest(row: AuditRow, before: str) -> str:
    """sha256, in hexadecimal digits, over an entry and the digest of the one before it ('' of the first)."""
    bound = [before, row.number, row.who, row.act, row.subject, row.detail, row.at_s]
    return hashlib.sha256(canonical_json(bound)).hexdigest()


def local_user() -> str:
    """Who acts on this machine: `local:` and the user's name, or number where it has no name."""
    number = os.geteuid()
    try:
        return f"local:{pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"local:{number}"
