"""The server's seal on a head or a prior: a signature in the message that readers without a key need not look at.

A seal is a second text in safetensors' own metadata, put before all others, so that a message is whole without it:
taking it out gives the bytes that were sealed. Normative text: docs/protocol.md, 4.31. No cryptography here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from headway.errors import RemoteError

SIGNATURE_BYTES, KEY_BYTES = 64, 32
# of the public key, to know which of several to ask
KEY_ID_BYTES = 8
FORMAT = 1
# 8 bytes for the header's length, then the header
BEGINNING = b'{"__metadata__":{'
SEAL = re.compile(rb'"sealed":"([0-9a-f]{180})",')
# of the whole text; a multiple of 8, so that tensors stay aligned
SEAL_BYTES = 192
CONTEXT = b"headway sealed message\n"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a seal says beside its signature. series: counts how often the numbers of heads began anew; version: of the
    head, or of the newest head when a prior was told. key_id: first bytes of the public key."""

    series: int
    version: int
    key_id: bytes
    signature: bytes

    @property
    def order(self) -> tuple[int, int]:
        """Grows with every head that the holder of the key publishes."""
        return self.series, self.version

    def digits(self) -> str:
        """As it stands in a message, 180 hexadecimal digits."""
        numbers = self.series.to_bytes(8, "big") + self.version.to_bytes(8, "big")
        return (FORMAT.to_bytes(2, "big") + self.key_id + numbers + self.signature).hex()

    @classmethod
    def read(cls, digits: str) -> Seal:
        """Inverse of `digits`. Raises RemoteError for a seal of a later format."""
        content = bytes.fromhex(digits)
        if int.from_bytes(content[:2], "big") != FORMAT:
            raise RemoteError(f"the message has a seal of format {content[:2].hex()}; this program reads {FORMAT:04x}")
        series, version = int.from_bytes(content[10:18], "big"), int.from_bytes(content[18:26], "big")
        return cls(series, version, content[2:10], content[26:])


def sealed_text(topic: str, payload: bytes, series: int, version: int) -> bytes:
    """What is signed: where the message goes (fleet, device or readers, kind), its place in order, its content.

    payload: the message without a seal.
    """
    numbers = series.to_bytes(8, "big") + version.to_bytes(8, "big")
    return CONTEXT + topic.encode() + b"\n" + numbers + hashlib.sha256(payload).digest()


def with_seal(payload: bytes, seal: Seal) -> bytes:
    """The message with the seal in it. payload: a message of tensors without one."""
    if payload[8 : 8 + len(BEGINNING)] != BEGINNING:
        raise ValueError("only a message of tensors with metadata can be sealed")
    text = b'"sealed":"' + seal.digits().encode() + b'",'
    length = int.from_bytes(payload[:8], "little") + len(text)
    at = 8 + len(BEGINNING)
    return length.to_bytes(8, "little") + payload[8:at] + text + payload[at:]


def without_seal(payload: bytes) -> tuple[bytes, Seal | None]:
    """The message as it was sealed, and its seal; as it is, and None, where it has none.

    Raises RemoteError for a seal of a later format.
    """
    at = 8 + len(BEGINNING)
    match = SEAL.match(payload, at) if payload[8:at] == BEGINNING else None
    if match is None:
        return payload, None
    seal = Seal.read(match[1].decode())
    length = int.from_bytes(payload[:8], "little") - SEAL_BYTES
    if length < 0:
        raise RemoteError("the message has a seal that is longer than its header")
    return length.to_bytes(8, "little") + payload[8:at] + payload[at + SEAL_BYTES :], seal
