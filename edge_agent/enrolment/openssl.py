"""Private keys and certificate requests, made by the program openssl: no library for it stays on the device."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from headway.errors import ConfigError, StoreError

TIMEOUT_S = 60.0


def new_key() -> bytes:
    """A new private key, EC P-256, PEM. Raises ConfigError without openssl."""
    return _openssl(
        "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"
    )


def certificate_request(key_file: Path, name: str) -> str:
    """A certificate request, PEM, of the key in a file."""
    return _openssl("req", "-new", "-sha256", "-key", str(key_file), "-subj", f"/CN={name}").decode()


def signature(key_file: Path, payload: bytes) -> bytes:
    """ECDSA, SHA-256, DER."""
    return _openssl("dgst", "-sha256", "-sign", str(key_file), payload=payload)


def serial_of(certificate: Path) -> str:
    """Serial of a certificate, hexadecimal in small letters without leading zeros."""
    text = _openssl("x509", "-in", str(certificate), "-noout", "-serial").decode()
    return text.strip().rpartition("=")[2].lower().lstrip("0")


def dates_of(certificate: Path) -> tuple[float, float]:
    """From when and until when a certificate is good, wall clock."""
    lines = _openssl("x509", "-in", str(certificate), "-noout", "-dates").decode().splitlines()
    begin, end = (ssl.cert_time_to_seconds(line.partition("=")[2]) for line in lines)
    return float(begin), float(end)


def _openssl(*arguments: str, payload: bytes = b"") -> bytes:
    done = _run(arguments, payload)
    if done.returncode:
        raise StoreError(f"openssl {arguments[0]} failed: {_said(done)}")
    return done.stdout


def _run(arguments: tuple[str, ...], payload: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["openssl", *arguments], input=payload, capture_output=True, timeout=TIMEOUT_S)
    except FileNotFoundError as error:
        raise ConfigError("the program openssl is not installed, and makes the key; apt install openssl") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"cannot run openssl: {error}") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"it left with {done.returncode}"
