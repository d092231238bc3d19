"""Checks an Ed25519 signature (RFC 8032), by the first of three ways that is there; all of them ask OpenSSL.

The library that Python has loaded for its hashes (libcrypto.py); the program openssl, as on every Debian, in a process
that ends; the ``cryptography`` package, which stays in the memory of a device with 10 to 13 MB
(benchmarks/footprint.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack

from headway.bundle.libcrypto import loaded_libcrypto
from headway.errors import ConfigError

TIMEOUT_S = 60.0
# SubjectPublicKeyInfo of Ed25519 (RFC 8410), before the key's 32 bytes
KEY_HEAD = bytes.fromhex("302a300506032b6570032100")
REFUSED = "Signature Verification Failure"


def signed_by(public_key: bytes, message: bytes, signature: bytes, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the holder of `public_key` (32 bytes) signed the message. Raises ConfigError where nothing can tell."""
    library = loaded_libcrypto()
    if library is not None:
        return library.verifies(public_key, message, signature)
    program = shutil.which("openssl")
    if program is None:
        return _by_package(public_key, message, signature)
    with ExitStack() as stack:
        key, text, signed = (_in_memory(stack, content) for content in (KEY_HEAD + public_key, message, signature))
        command = [program, "pkeyutl", "-verify", "-pubin", "-rawin", "-keyform", "DER"]
        command += [
            "-inkey",
            f"/proc/self/fd/{key}",
            "-in",
            f"/proc/self/fd/{text}",
            "-sigfile",
            f"/proc/self/fd/{signed}",
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout_s, pass_fds=(key, text, signed))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"cannot run openssl, which checks signatures: {error}") from error
    if done.returncode and REFUSED not in (said := (done.stdout + done.stderr).decode(errors="replace")):
        raise ConfigError(f"openssl cannot check signatures: {said.strip()[-200:]}; version 1.1.1 or later can")
    return done.returncode == 0


def checks_are_quick() -> bool:
    """Whether a check takes a fraction of a millisecond on a desktop, and no process."""
    return loaded_libcrypto() is not None


def _in_memory(stack: ExitStack, content: bytes) -> int:
    """Descriptor of a file that is on no disk."""
    file = stack.enter_context(os.fdopen(os.memfd_create("signature"), "wb"))
    file.write(content)
    file.flush()
    return file.fileno()


def _by_package(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise ConfigError(
            "checking signatures needs the program openssl (apt install openssl), or the cryptography package: "
            "pip install 'headway[signing]'"
        ) from error
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
