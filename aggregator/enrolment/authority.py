"""The fleet's own certificate authority: one EC P-256 key in the state folder, X.509 that strict readers accept.

Certificates follow RFC 5280: basic constraints, key usage, extended key usage and both key identifiers are in each, so
that Python 3.13 (VERIFY_X509_STRICT) takes them.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aggregator.owner import give_to_owner_of
from headway.durable import write_durably
from headway.errors import RemoteError, StoreError

FOLDER, KEY, CERTIFICATE = "authority", "ca.key", "ca.pem"
AUTHORITY_DAYS = 20 * 365
# a device's clock may be behind ours
BEFORE = timedelta(days=1)
PEM = serialization.Encoding.PEM


class Role(Enum):
    """What a certificate is good for: a device cannot pose as a server with its own, nor the other way round."""

    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, PEM. serial: hexadecimal; expires_s: wall clock."""

    pem: bytes
    serial: str
    expires_s: float


class Authority:
    """Signs certificates. Made at its first use, in `state_dir`/authority; every later use opens the same."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key, self._certificate = key, certificate

    @classmethod
    def open(cls, state_dir: Path, fleet: str, now_s: float) -> Authority:
        """Raises StoreError: the folder cannot be used, or what is in it is no authority."""
        folder = state_dir / FOLDER
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            give_to_owner_of(state_dir, folder)
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # two commands at once make one authority
                return cls._open(folder, fleet, now_s)
        except OSError as error:
            raise StoreError(f"cannot use the authority in {folder}: {error.strerror or error}") from error

    @classmethod
    def _open(cls, folder: Path, fleet: str, now_s: float) -> Authority:
        if (folder / KEY).exists():
            key = _read_key(folder / KEY)
        else:
            if (folder / CERTIFICATE).exists():
                raise StoreError(f"{folder / KEY} is missing; bring it back from a backup, devices trust no other")
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(folder / KEY, private_pem(key))
        if not (folder / CERTIFICATE).exists():  # killed after the key was written: nobody has seen it yet
            write_durably(folder / CERTIFICATE, _own_certificate(key, fleet, now_s).public_bytes(PEM))
        try:
            certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        except ValueError as error:
            raise StoreError(f"{folder / CERTIFICATE} is no certificate: {error}") from error
        if certificate.public_key() != key.public_key():
            raise StoreError(
                f"{folder / KEY} does not belong to {CERTIFICATE} beside it; bring both back from a backup"
            )
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(PEM)

    @property
    def sha256(self) -> str:
        """Fingerprint of that certificate (DER), hexadecimal."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def issue(
        self, name: str, key: ec.EllipticCurvePublicKey, role: Role, now_s: float, days: int, hosts: Sequence[str] = ()
    ) -> Issued:
        """A certificate of the common name `name`. hosts: names and addresses of a server."""
        begin = datetime.fromtimestamp(now_s, UTC).replace(microsecond=0)
        end = min(begin + timedelta(days=days), self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder(self._certificate.subject, _name(name), key, x509.random_serial_number())
            .not_valid_before(begin - BEFORE)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([role.value]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(self._identifier, critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([*map(_host, hosts)]), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        return Issued(made.public_bytes(PEM), f"{made.serial_number:x}", end.timestamp())

    def issue_with_key(
        self, name: str, role: Role, now_s: float, days: int, hosts: Sequence[str] = ()
    ) -> tuple[bytes, Issued]:
        """A new private key, PEM, and its certificate: for the server's own programs."""
        key = ec.generate_private_key(ec.SECP256R1())
        return private_pem(key), self.issue(name, key.public_key(), role, now_s, days, hosts)

    def revocations(self, revoked: Iterable[tuple[str, float]], now_s: float) -> bytes:
        """The signed list of revoked certificates, PEM. revoked: serial and wall clock of each.

        It is good as long as the authority: a broker whose list has ended would let nobody in.
        """
        now = datetime.fromtimestamp(now_s, UTC)
        builder = (
            x509.CertificateRevocationListBuilder(
                self._certificate.subject, now - BEFORE, self._certificate.not_valid_after_utc
            )
            .add_extension(x509.CRLNumber(int(now_s * 1000)), critical=False)
            .add_extension(self._identifier, critical=False)
        )
        for serial, at_s in revoked:
            at = datetime.fromtimestamp(at_s, UTC)
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(int(serial, 16), at).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM)

    @property
    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def requested_key(request: str) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate request, which shows that its sender has the private one. Raises RemoteError."""
    try:
        read = x509.load_pem_x509_csr(request.encode())
        key = read.public_key()
        good = read.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise RemoteError("the certificate request cannot be read; it must be PEM, as openssl req writes it") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RemoteError("the certificate request is not of an EC P-256 key; other keys are not signed")
    if not good:
        raise RemoteError("the certificate request is not signed by its own key")
    return key


def signed_by(certificate: bytes, signature: bytes, payload: bytes) -> bool:
    """Whether the key of a certificate (PEM) has signed `payload` (ECDSA, SHA-256)."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # we signed no other
    try:
        key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def key_sha256(key: ec.EllipticCurvePublicKey) -> str:
    """Hexadecimal digest by which a public key is known again."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as the broker and the programs read it."""
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def write_private(file: Path, payload: bytes) -> None:
    """A file in the authority's folder that only the folder's owner may read, also where root writes it."""

    def write(stream: BinaryIO) -> None:
        give_to_owner_of(file.parent, stream.fileno())
        stream.write(payload)

    write_durably(file, write, 0o600)


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{file} is no private key without a passphrase: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StoreError(f"{file} is not an EC key; bring back the one that was made here")
    return key


def _own_certificate(key: ec.EllipticCurvePrivateKey, fleet: str, now_s: float) -> x509.Certificate:
    begin = datetime.fromtimestamp(now_s, UTC).replace(microsecond=0)
    name, public = _name(f"headway {fleet} authority"[:64]), key.public_key()
    return (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(begin - BEFORE)
        .not_valid_after(begin + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature, key_cert_sign=key_cert_sign, crl_sign=crl_sign, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
