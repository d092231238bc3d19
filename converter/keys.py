"""Makes Ed25519 keys and signs with them. Checking is headway/bundle/signing.py, which devices use too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headway.bundle import PUBLIC_KEY_PREFIX
from headway.durable import write_durably
from headway.errors import ConfigError


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
    write_durably(public, f"{PUBLIC_KEY_PREFIX}{raw.hex()}\n".encode())
    return public


def read_signer(path: Path) -> Callable[[bytes], bytes]:
    """A function manifest -> signature (64 bytes). Raises ConfigError when `path` is no private Ed25519 key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"cannot read signing key {path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a private key; make one with: edge-convert keygen signing.pem") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}; bundles are signed with Ed25519: edge-convert keygen")
    return key.sign
