"""Declares users of the API, their tokens, and acts that were done once under a key of the caller."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class UserRow:
    """A person or a program. role: see `aggregator.access.Role`. password: its argon2 digest, empty for none."""

    name: str
    role: str
    password: str
    created_s: float


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token of a user; of its text only the sha256 is kept. id: its first digits. label: what the user calls it.

    role: what it may at most, whatever its user may; expires_s: wall clock.
    """

    sha256: str
    id: str
    user: str
    label: str
    role: str
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class DoneActRow:
    """An act that a caller gave a key. key_sha256, request_sha256: of that key and of what was asked for.

    body: the answer, empty where it held a secret; done_s: wall clock.
    """

    who: str
    key_sha256: str
    request_sha256: str
    status: int
    secret: bool
    body: bytes
    done_s: float


USERS = Collection("users", UserRow, ("name",))
TOKENS = Collection("tokens", TokenRow, ("sha256",), indexed=("user", "id"))
DONE_ACTS = Collection("done_acts", DoneActRow, ("who", "key_sha256"))
