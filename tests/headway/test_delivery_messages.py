"""What the messages of a delivery refuse; their goldens are with the others, in test_messages.py."""

from __future__ import annotations

import json

import pytest

from headway.errors import RemoteError
from headway.wire.bundle_transfer import (
    CHUNK_BYTES_MAX,
    WITHDRAWN,
    Desired,
    FileRange,
    RangeRequest,
    read_desired,
)
from headway.wire.messages import MESSAGE_BYTES_MAX
from tests.headway.test_messages import MESSAGES, SHA256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "FEDC" * 16}, "64 hexadecimal digits"),
        ({"sha256": "f" * 63}, "64 hexadecimal digits"),
        ({"sha256": "../../etc/passwd"}, "64 hexadecimal digits"),
        ({"size": 0}, "size of desired must be a whole number from 1"),
        ({"size": 1 << 30}, "size of desired must be a whole number from 1"),
        ({"release": -1}, "release of desired"),
    ],
)
def test_a_wish_that_no_operator_made_is_refused(change: dict[str, object], message: str) -> None:
    table = json.loads(MESSAGES["desired.json"].encode()) | change
    with pytest.raises(RemoteError, match=message):
        Desired.decode(json.dumps(table).encode())


def test_nothing_is_desired_by_an_empty_message_and_by_one_that_says_so_to_which_devices_before_it_say_no() -> None:
    assert WITHDRAWN == b'{"schema":1,"withdrawn":true}'
    assert read_desired(b"") is read_desired(WITHDRAWN) is None
    assert read_desired(MESSAGES["desired.json"].encode()) == MESSAGES["desired.json"]
    with pytest.raises(RemoteError, match="must be true, or left out"):
        read_desired(WITHDRAWN.replace(b"true", b"false"))
    with pytest.raises(RemoteError, match="unknown key 'size' in desired"):
        read_desired(WITHDRAWN.replace(b"{", b'{"size":5,', 1))
    with pytest.raises(RemoteError):
        Desired.decode(WITHDRAWN)


@pytest.mark.parametrize(
    "change", [{"length": 0}, {"length": CHUNK_BYTES_MAX + 1}, {"offset": -1}, {"offset": 1 << 30}]
)
def test_a_range_beyond_the_limits_is_refused(change: dict[str, object]) -> None:
    table = json.loads(MESSAGES["request.json"].encode()) | change
    with pytest.raises(RemoteError, match="must be a whole number from"):
        RangeRequest.decode(json.dumps(table).encode())


def test_a_file_range_is_what_it_says() -> None:
    good = MESSAGES["file.safetensors"].encode()
    with pytest.raises(RemoteError, match="does not match its sha256"):
        FileRange.decode(good.replace(b"part of", b"park of"))
    with pytest.raises(RemoteError, match="ends behind the file's"):
        FileRange.decode(FileRange(SHA256, 100, 105, 0.0, b"too long").encode())
    longest = FileRange(SHA256, 0, 250_000, 0.0, bytes(CHUNK_BYTES_MAX)).encode()
    assert len(longest) <= MESSAGE_BYTES_MAX
    assert len(FileRange.decode(longest).data) == CHUNK_BYTES_MAX
