"""The record of a removal: what was taken out, back to which mark, and the head without it; signed by the server's key.

Records are numbered, and each names the digest of the one before it, so that one that is missing shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from aggregator.store import Store
from aggregator.store.rows import REMOVALS, RemovalRow
from headway.bundle import signed_by
from headway.errors import StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.private_keys import Signer

CONTEXT = b"headway removal record\n"
# a record may name every device of a fleet, each with up to 64 characters; it is never too long for the server's start
DEVICES_MAX = 1_000_000
RECORD_BYTES_MAX = 80 << 20
EPOCHS_MAX = 4096


@dataclass(frozen=True, slots=True)
class ForgottenEpoch:
    """What became of an epoch. counter, samples: stored before; kept_*: of the mark, 0 where nothing is kept.

    space: empty for an epoch of gradient updates alone, which nobody can count any more.
    """

    epoch: int
    space: str
    counter: int
    samples: int
    kept_counter: int
    kept_samples: int
    mark_s: float


@dataclass(frozen=True, slots=True)
class RemovalRecord:
    """One removal. at_s, since_s: wall clock; since_s 0: all of the device.

    sums: SHA-256, by feature space, of the exact sum of all other devices and what is kept of this one. heads: of the
    head that follows from it; empty where none is published by the exact method, or only with noise. renewed: devices
    that were asked to drop a prior that may have held some of it; not_renewed: those that know no such command.
    averaged: updates of the device may be in averaged heads, of which nothing can be taken out.
    """

    number: int
    fleet: str
    device: str
    who: str
    at_s: float
    since_s: float
    epochs: tuple[ForgottenEpoch, ...]
    sums: dict[str, str]
    heads: dict[str, str]
    renewed: tuple[str, ...]
    not_renewed: tuple[str, ...]
    averaged: bool
    before_sha256: str = ""

    def encode(self) -> str:
        content: dict[str, JsonValue] = {"format": 1, **asdict(self)}
        return canonical_json(content).decode()

    @classmethod
    def decode(cls, text: str, where: str) -> RemovalRecord:
        """Raises StoreError."""
        raw = text.encode()
        fields = Fields(parse_json(raw, where, StoreError, RECORD_BYTES_MAX), where, StoreError)
        if (version := fields.integer("format")) != 1:
            raise StoreError(f"{where} has format {version}; this program reads 1")
        made = cls(
            fields.integer("number", low=1), fields.text("fleet"), fields.text("device"), fields.text("who"),
            fields.number("at_s"), fields.number("since_s"),
            tuple(_epoch(each) for each in fields.tables("epochs", count_max=EPOCHS_MAX)),
            _texts(fields.mapping("sums")), _texts(fields.mapping("heads")),
            fields.strings("renewed", count_max=DEVICES_MAX), fields.strings("not_renewed", count_max=DEVICES_MAX),
            fields.boolean("averaged"), fields.text("before_sha256"),
        )  # fmt: skip
        fields.finish()
        return made


def add_record(store: Store, record: RemovalRecord, signer: Signer | None) -> RemovalRow:
    """Number and sign a record, in the transaction of the removal."""
    number = store.rows(REMOVALS).count() + 1
    last = store.rows(REMOVALS).get(number - 1)
    before = "" if last is None else digest(last.record)
    text = replace(record, number=number, before_sha256=before).encode()
    signature = "" if signer is None else signer.sign(CONTEXT + text.encode()).hex()
    row = RemovalRow(number, text, signature)
    store.rows(REMOVALS).put(row)
    return row


def records_of(store: Store) -> list[RemovalRow]:
    """All of them, the oldest first. In a transaction."""
    return store.rows(REMOVALS).all()


def record_problems(rows: Sequence[RemovalRow], keys: Sequence[bytes]) -> list[str]:
    """What is wrong with records, a line each. keys: public keys that may have signed them; none: no signature is
    looked at."""
    found, before = [], ""
    for expected, row in enumerate(rows, start=1):
        where = f"removal {row.number}"
        record = RemovalRecord.decode(row.record, where)
        if (row.number, record.number) != (expected, expected):
            found.append(f"removal {expected} is missing: {row.number} comes in its place")
        elif record.before_sha256 != before:
            found.append(f"{where} does not follow from the one before: it, or that one, was changed")
        if keys and not _is_signed(row, keys):
            found.append(f"{where} is not signed by {'any of these keys' if len(keys) > 1 else 'this key'}")
        before = digest(row.record)
    return found


def digest(text: str) -> str:
    """SHA-256 of a record, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _is_signed(row: RemovalRow, keys: Sequence[bytes]) -> bool:
    try:
        signature = bytes.fromhex(row.signature)
    except ValueError:
        return False
    text = CONTEXT + row.record.encode()
    return len(signature) == 64 and any(signed_by(key, text, signature) for key in keys)


def _epoch(fields: Fields) -> ForgottenEpoch:
    made = ForgottenEpoch(
        fields.integer("epoch"), fields.text("space"), fields.integer("counter"), fields.integer("samples"),
        fields.integer("kept_counter"), fields.integer("kept_samples"), fields.number("mark_s"),
    )  # fmt: skip
    fields.finish()
    return made


def _texts(content: Mapping[str, JsonValue]) -> dict[str, str]:
    return {name: str(value) for name, value in content.items()}
