"""Digests of passwords: argon2id, with the parameters of RFC 9106 for machines that are short of memory."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from headway.errors import ConfigError

LENGTH_MIN, LENGTH_MAX = 12, 1000
# 64 MiB, three passes: RFC 9106, section 4, second recommended option; one lane, as requests take turns
HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)


def hashed(password: str) -> str:
    """Digest to keep. Raises ConfigError for a password that is too short to be one."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise ConfigError(f"the password has {len(password)} characters; take {LENGTH_MIN} to {LENGTH_MAX}")
    return HASHER.hash(password)


def matches(password: str, digest: str) -> bool:
    """Whether it is the password. Without a digest it takes as long, so that nobody learns who has none."""
    if not digest:
        HASHER.hash(password[:LENGTH_MAX])
        return False
    try:
        return HASHER.verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False
