"""Makes Ed25519 keys and signs with them, where the `cryptography` package is: never on a device.

Checking is `headway.bundle.ed25519`, which devices use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headway.bundle import PUBLIC_KEY_PREFIX
from headway.durable import write_durably
from headway.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that was read. sign: message -> signature (64 bytes); public_key: 32 bytes."""

    sign: Callable[[bytes], bytes]
    public_key: bytes


def generate_key(path: Path) -> Path:
    """Write a new private key to `path` (PEM, readable by its owner only) and the public one beside it, ``.pub``.

    Raises ConfigError when either exists already: overwriting a signing key locks a fleet out.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = path.with_name(path.name + ".pub")
    for file in (path, public):
        if file.exists():
            raise ConfigError(f"{file} exists already; move it away first, devices may trust it")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    write_durably(path, pem, mode=0o600)
    write_durably(public, public_key_line(raw).encode())
    return public


def public_key_line(key: bytes) -> str:
    """A public key as its file has it."""
    return f"{PUBLIC_KEY_PREFIX}{key.hex()}\n"


def read_signer(path: Path, make_with: str) -> Signer:
    """The private key in a file. make_with: the command that makes one, for the message.

    Raises ConfigError when `path` is no private Ed25519 key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"cannot read signing key {path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a private key; make one with: {make_with}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}; signatures are Ed25519: {make_with}")
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return Signer(key.sign, raw)
