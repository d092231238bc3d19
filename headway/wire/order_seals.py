"""The server's seal on what makes a device act: the desired bundle, settings, commands.

These are JSON. The seal is a key of the table `optional`, which readers that do not know it pass over; without that
text the message is the one that was sealed, to the byte. Normative text: docs/protocol.md, 4.32. No cryptography here.
"""

from __future__ import annotations

import re

from headway.errors import RemoteError
from headway.fields import canonical_json, parse_json
from headway.wire.codec import MESSAGE_BYTES_MAX
from headway.wire.seals import Seal
from headway.wire.topics import Kind

# what a device acts on; acks, which it counts by, have no seal
ORDERS = (Kind.DESIRED, Kind.CONFIGURATION, Kind.COMMANDS)
DIGITS = re.compile(r"[0-9a-f]{180}")


def with_order_seal(payload: bytes, seal: Seal) -> bytes:
    """The message with the seal in it. payload: canonical JSON without `optional`. Raises ValueError for any other."""
    fields = parse_json(payload, "order", RemoteError, MESSAGE_BYTES_MAX)
    if not isinstance(fields, dict) or "optional" in fields or canonical_json(fields) != payload:
        raise ValueError("only canonical JSON without a table `optional` can be sealed")
    return canonical_json({**fields, "optional": {"seal": seal.digits()}})


def without_order_seal(payload: bytes) -> tuple[bytes, Seal | None]:
    """The message as it was sealed, and its seal; as it is, and None, where it has none.

    Raises RemoteError for what is no JSON, and for a seal that is none, or not where it belongs.
    """
    fields = parse_json(payload, "order", RemoteError, MESSAGE_BYTES_MAX)
    optional = fields.get("optional") if isinstance(fields, dict) else None
    if not isinstance(optional, dict) or (digits := optional.get("seal")) is None:
        return payload, None
    if not isinstance(digits, str) or not DIGITS.fullmatch(digits):
        raise RemoteError("the seal of the message must be 180 hexadecimal digits")
    # alone in its table, or before what later releases add to that
    alone = len(optional) == 1
    text = f'"optional":{{"seal":"{digits}"}},'.encode() if alone else f'"seal":"{digits}",'.encode()
    if payload.count(text) != 1:
        raise RemoteError("the seal of the message does not stand where the canonical form has it")
    return payload.replace(text, b""), Seal.read(digits)
