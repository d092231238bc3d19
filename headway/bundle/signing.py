"""Signs and checks a bundle's manifest, which holds the hash and size of everything else: Ed25519 (RFC 8032).

Only checking happens here, and only when a public key is configured.
"""

from __future__ import annotations

from pathlib import Path

from headway.bundle.container import Container
from headway.bundle.ed25519 import signed_by
from headway.errors import BundleError, ConfigError

PUBLIC_KEY_BYTES = 32
PUBLIC_KEY_PREFIX = "headway-ed25519 "
# an old one, the present one, and the next: more only make a slip harder to see
PUBLIC_KEYS_MAX = 4
# The y coordinates of the curve's points of small order (RFC 8032, 5.1: modulus and curve). With such a key, all zeros
# among them, anybody can write a signature that fits.
CURVE_MODULUS = 2**255 - 19
ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_Y = frozenset({0, 1, CURVE_MODULUS - 1, ORDER_8_Y, CURVE_MODULUS - ORDER_8_Y})


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of a public key file: one line, ``headway-ed25519`` and 64 hexadecimal digits.

    Raises ConfigError when the file cannot be read, is something else, or holds a key for which anybody can sign.
    """
    return _parsed(_text(path), path, "edge-convert")


def read_public_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file that holds one in each line, at most `PUBLIC_KEYS_MAX`; each as `read_public_key` has it."""
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not 1 <= len(lines) <= PUBLIC_KEYS_MAX:
        raise ConfigError(f"{path} holds {len(lines)} public keys; give 1 to {PUBLIC_KEYS_MAX}, one in each line")
    return tuple(_parsed(line, path, "edge-fleet") for line in lines)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read public key {path}: {getattr(error, 'strerror', None) or error}") from error


def _parsed(text: str, path: Path, program: str) -> bytes:
    if "PRIVATE" in text[:64]:
        raise ConfigError(f"{path} is a private key; give the .pub file that {program} keygen wrote beside it")
    try:
        key = bytes.fromhex(text.removeprefix(PUBLIC_KEY_PREFIX))
    except ValueError:
        key = b""
    if not text.startswith(PUBLIC_KEY_PREFIX) or len(key) != PUBLIC_KEY_BYTES:
        raise ConfigError(f"{path} is not a public key: expected '{PUBLIC_KEY_PREFIX}' and 64 hexadecimal digits")
    # the top bit is the sign of x; what is left may be written as y or as y plus the modulus
    if (int.from_bytes(key, "little") & (2**255 - 1)) % CURVE_MODULUS in SMALL_ORDER_Y:
        raise ConfigError(
            f"{path} holds {key.hex()[:16]}..., a key for which anybody can sign; "
            f"give the .pub file that {program} keygen wrote"
        )
    return key


def verify_signature(container: Container, public_key: bytes) -> None:
    """Check that the holder of the private key signed this bundle. Raises BundleError otherwise.

    Raises ConfigError where there is nothing that can check it.
    """
    if container.signature is None:
        raise BundleError("bundle is not signed, and a public key is configured; sign it with edge-convert --key")
    if not signed_by(public_key, container.manifest_bytes, container.signature):
        raise BundleError(
            f"signature does not match public key {public_key.hex()[:16]}...; the bundle was signed with "
            "another key or altered after signing"
        )
