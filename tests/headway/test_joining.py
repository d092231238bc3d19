"""What is said when a device joins, byte for byte, and how bad bytes are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.errors import RemoteError
from headway.joining import MESSAGE_BYTES_MAX, JoinAnswer, JoinCode, JoinRequest, RenewRequest

GOLDEN = Path(__file__).parents[1] / "golden" / "joining"
REQUEST = "-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n"
CERTIFICATE = REQUEST.replace(" REQUEST", "")
CODE = JoinCode("abcdefghijklmnopqrstuvwxyz", "0123456789abcdef" * 4)

MESSAGES: dict[str, JoinRequest | RenewRequest | JoinAnswer] = {
    "join-request.json": JoinRequest(CODE.secret, "wrist-1", REQUEST),
    "renew-request.json": RenewRequest("5b0a9a0c", REQUEST, b"\x30\x00\xff"),
    "join-answer.json": JoinAnswer(
        "wrist-1", "plant", CERTIFICATE, CERTIFICATE, "broker.example", 8883, "5b0a9a0c", 1.8e9
    ),
}
DECODE: dict[str, Callable[[bytes], object]] = {
    "join-request.json": JoinRequest.decode,
    "renew-request.json": RenewRequest.decode,
    "join-answer.json": JoinAnswer.decode,
}
NAMES = pytest.mark.parametrize("name", sorted(MESSAGES))


@NAMES
def test_golden_bytes_are_read_and_written(name: str) -> None:
    golden = (GOLDEN / name).read_bytes()
    assert MESSAGES[name].encode() == golden
    assert DECODE[name](golden) == MESSAGES[name]


def test_a_code_is_written_as_ever() -> None:
    assert CODE.text == (GOLDEN / "code.txt").read_text().strip()
    assert JoinCode.parse(CODE.text) == CODE


@NAMES
def test_cut_long_or_incomplete_messages_are_refused(name: str) -> None:
    golden = (GOLDEN / name).read_bytes()
    for length in range(len(golden)):
        with pytest.raises(RemoteError):
            DECODE[name](golden[:length])
    with pytest.raises(RemoteError, match="at most"):
        DECODE[name](golden + b" " * MESSAGE_BYTES_MAX)
    table = json.loads(golden)
    for key in table:
        with pytest.raises(RemoteError):
            DECODE[name](json.dumps({**table, key: [1]}).encode())
        with pytest.raises(RemoteError):
            DECODE[name](json.dumps({other: value for other, value in table.items() if other != key}).encode())


def test_a_request_with_a_key_too_many_is_refused_and_an_answer_taken() -> None:
    for name, decode in DECODE.items():
        more = json.dumps({**json.loads(MESSAGES[name].encode()), "later": 1}).encode()
        if name == "join-answer.json":
            assert decode(more) == MESSAGES[name]
        else:
            with pytest.raises(RemoteError, match="unknown key"):
                decode(more)
        spare = json.dumps({**json.loads(MESSAGES[name].encode()), "optional": {"later": 1}}).encode()
        assert decode(spare) == MESSAGES[name]
