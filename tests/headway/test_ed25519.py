"""Signatures, checked by the program openssl and by the library: both must agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headway.bundle.ed25519 import signed_by
from headway.errors import ConfigError

MESSAGE = b"a manifest"
# of the group: a signature whose number is larger by it fits by arithmetic, and must be refused (RFC 8032, 5.1.7)
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture(params=["program", "library"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "library":
        monkeypatch.setenv("PATH", str(tmp_path))
    return str(request.param)


def malleable(signature: bytes) -> bytes:
    number = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + number.to_bytes(32, "little")


@pytest.mark.usefixtures("way")
def test_only_the_holder_of_the_key_can_sign() -> None:
    key = Ed25519PrivateKey.generate()
    assert signed_by(key.public_key().public_bytes_raw(), MESSAGE, key.sign(MESSAGE))
    assert not signed_by(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), MESSAGE, key.sign(MESSAGE))
    assert not signed_by(key.public_key().public_bytes_raw(), MESSAGE + b".", key.sign(MESSAGE))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "alter", [lambda s: s[:-1], lambda s: s + b"\0", lambda s: b"", lambda s: bytes(64), lambda s: s[::-1], malleable]
)
def test_an_altered_signature_does_not_fit(alter: Callable[[bytes], bytes]) -> None:
    key = Ed25519PrivateKey.generate()
    assert not signed_by(key.public_key().public_bytes_raw(), MESSAGE, alter(key.sign(MESSAGE)))


@pytest.mark.usefixtures("way")
def test_a_key_that_is_no_point_fits_nothing() -> None:
    assert not signed_by(b"\xff" * 32, MESSAGE, bytes(64))


def test_a_program_that_cannot_tell_is_an_error_and_not_a_no(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho 'unknown option -rawin' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot check signatures: unknown option -rawin"):
        signed_by(bytes(32), MESSAGE, bytes(64))
