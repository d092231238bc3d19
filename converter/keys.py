"""Makes the keys that bundles are signed with, and signs. Checking is headway/bundle/signing.py, as on devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headway.private_keys import generate_key
from headway.private_keys import read_signer as read_private_key

__all__ = ["generate_key", "read_signer"]


def read_signer(path: Path) -> Callable[[bytes], bytes]:
    """A function manifest -> signature (64 bytes). Raises ConfigError when `path` is no private Ed25519 key."""
    return read_private_key(path, "edge-convert keygen signing.pem").sign
