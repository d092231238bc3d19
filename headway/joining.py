"""What a device and its server say to each other when the device joins: the code, the requests, the answer.

A join code is ``hw1-SECRET-FINGERPRINT`` in base32: a secret of 130 bits, and the SHA-256 of the certificate (DER) of
the server's authority, by which a device knows the server before it has any certificate of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass

from headway.errors import ConfigError, RemoteError
from headway.fields import Fields, canonical_json, parse_json

JOIN_PATH, RENEW_PATH, AUTHORITY_PATH = "/v1/join", "/v1/renew", "/v1/authority"
# common names of certificates that are no device's: no device's name can begin so
JOIN_SERVER = "_join"
MESSAGE_BYTES_MAX = 16 * 1024
SECRET_CHARACTERS = 26
PEM_CHARACTERS_MAX = 4096
HEAD_KEYS_MAX = 4
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_CODE = re.compile(rf"hw1-([{_ALPHABET}]{{{SECRET_CHARACTERS}}})-([{_ALPHABET}]{{52}})")


@dataclass(frozen=True, slots=True)
class JoinCode:
    """secret: what the server knows again by its hash. authority_sha256: hexadecimal digits."""

    secret: str
    authority_sha256: str

    @classmethod
    def new(cls, authority_sha256: str) -> JoinCode:
        """A code that nobody can guess."""
        return cls("".join(secrets.choice(_ALPHABET) for _ in range(SECRET_CHARACTERS)), authority_sha256)

    @classmethod
    def parse(cls, text: str) -> JoinCode:
        """Inverse of `text`; letters may be large. Raises ConfigError, which does not repeat the secret."""
        match = _CODE.fullmatch(text.strip().lower())
        if match is None:
            raise ConfigError(
                f"the join code ({len(text.strip())} characters) is none; copy the whole line, {len(_EXAMPLE)} "
                "characters that begin with hw1-, as edge-fleet enroll printed it"
            )
        return cls(match[1], base64.b32decode(match[2].upper() + "====").hex())

    @property
    def text(self) -> str:
        """As people copy it."""
        digest = base64.b32encode(bytes.fromhex(self.authority_sha256)).decode().rstrip("=").lower()
        return f"hw1-{self.secret}-{digest}"

    @property
    def sha256(self) -> str:
        """What the server stores of the secret."""
        return secret_sha256(self.secret)


_EXAMPLE = JoinCode("a" * SECRET_CHARACTERS, "00" * 32).text


def secret_sha256(secret: str) -> str:
    """Hexadecimal digest of a code's secret; it is random and long, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A device asks for its first certificate. device: empty where the code itself names it. request: a CSR, PEM."""

    secret: str
    device: str
    request: str

    def encode(self) -> bytes:
        return canonical_json({"secret": self.secret, "device": self.device, "request": self.request})

    @classmethod
    def decode(cls, payload: bytes) -> JoinRequest:
        """Raises RemoteError."""
        fields = _fields(payload, "join request")
        made = cls(
            fields.text("secret", length_max=64),
            fields.text("device", length_max=64),
            fields.text("request", length_max=PEM_CHARACTERS_MAX),
        )
        fields.finish()
        return made


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """A device asks for its next certificate. serial: of the present one, hexadecimal. signature: over `request`, made
    with the present key (ECDSA, SHA-256, DER), so that nobody else can ask."""

    serial: str
    request: str
    signature: bytes

    def encode(self) -> bytes:
        signature = base64.b64encode(self.signature).decode()
        return canonical_json({"serial": self.serial, "request": self.request, "signature": signature})

    @classmethod
    def decode(cls, payload: bytes) -> RenewRequest:
        """Raises RemoteError."""
        fields = _fields(payload, "renewal request")
        serial = fields.text("serial", length_max=64)
        request = fields.text("request", length_max=PEM_CHARACTERS_MAX)
        try:
            signature = base64.b64decode(fields.text("signature", length_max=256), validate=True)
        except (binascii.Error, ValueError) as error:
            raise RemoteError("renewal request: signature is not base64") from error
        fields.finish()
        return cls(serial, request, signature)


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """What a device needs. certificate, authority: PEM; host, port: of the broker; expires_s: wall clock.

    head_keys: with which the server seals heads and priors, each as the line of a public key's file.
    """

    device: str
    fleet: str
    certificate: str
    authority: str
    host: str
    port: int
    serial: str
    expires_s: float
    head_keys: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Without `head_keys` where there are none."""
        content = {name: getattr(self, name) for name in self.__slots__}
        keys = content.pop("head_keys")
        return canonical_json(content | ({"head_keys": list(keys)} if keys else {}))

    @classmethod
    def decode(cls, payload: bytes) -> JoinAnswer:
        """Raises RemoteError. Keys that a later server adds are no mistake."""
        fields = _fields(payload, "answer of the server")
        return cls(
            fields.text("device", length_max=64),
            fields.text("fleet", length_max=64),
            fields.text("certificate", length_max=PEM_CHARACTERS_MAX),
            fields.text("authority", length_max=PEM_CHARACTERS_MAX),
            fields.text("host"),
            fields.integer("port", low=1, high=65_535),
            fields.text("serial", length_max=64),
            fields.number("expires_s", low=0, high=1e12),
            fields.strings("head_keys", (), count_max=HEAD_KEYS_MAX),
        )


def _fields(payload: bytes, where: str) -> Fields:
    fields = Fields(parse_json(payload, where, RemoteError, MESSAGE_BYTES_MAX), where, RemoteError)
    # what later releases add there is for those who know it
    fields.optional()
    return fields
