"""Signatures, checked by the library that is loaded, by the program openssl and by the package: all must agree."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headway.bundle.ed25519 import signed_by
from headway.bundle.libcrypto import MAPPINGS, loaded_libcrypto
from headway.errors import ConfigError

MESSAGE = b"a manifest"
# of the group: a signature whose number is larger by it fits by arithmetic, and must be refused (RFC 8032, 5.1.7)
ORDER = 2**252 + 27742317777372353535851937790883648493


def without_loaded_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.bundle.ed25519.loaded_libcrypto", lambda: None)


@pytest.fixture(params=["loaded", "program", "package"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param != "loaded":
        without_loaded_library(monkeypatch)
    elif loaded_libcrypto() is None:
        pytest.skip("this Python has no libcrypto of its own")
    if request.param == "package":
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
    without_loaded_library(monkeypatch)
    with pytest.raises(ConfigError, match="cannot check signatures: unknown option -rawin"):
        signed_by(bytes(32), MESSAGE, bytes(64))


def test_a_library_that_is_not_loaded_or_not_what_it_seems_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another library has none of the functions; one that says yes to everything is found out."""
    mapped = tmp_path / "maps"
    monkeypatch.setattr("headway.bundle.libcrypto.MAPPINGS", mapped)
    libc = re.search(r"(/\S*/libc\.so\.6)", MAPPINGS.read_text())
    assert libc is not None
    named = tmp_path / "libcrypto.so.3"
    named.symlink_to(libc[1])
    for text in ("", f"7f00-7f01 r--p 0 08:01 9 {tmp_path}/libcrypto.so.1\n", f"7f00-7f01 r--p 0 08:01 9 {named}\n"):
        mapped.write_text(text)
        assert loaded_libcrypto.__wrapped__() is None
    # a file with a name in no encoding, mapped before the library, hides it from nobody
    mapped.write_bytes(b"7f00-7f01 r--p 0 08:01 9 /srv/caf\xe9/memory.db-shm\n" + MAPPINGS.read_bytes())
    assert (loaded_libcrypto.__wrapped__() is None) == (loaded_libcrypto() is None)
    if loaded_libcrypto() is not None:
        monkeypatch.undo()
        monkeypatch.setattr("headway.bundle.libcrypto.Libcrypto.verifies", lambda *given: True)
        assert loaded_libcrypto.__wrapped__() is None
