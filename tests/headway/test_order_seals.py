"""A seal in an order: the message without it is the one that was sealed, and readers without keys pass over it."""

from __future__ import annotations

import pytest

from headway.errors import RemoteError
from headway.fields import canonical_json
from headway.wire import (
    Command,
    Commands,
    Configuration,
    Desired,
    Seal,
    with_order_seal,
    without_order_seal,
)

DIGITS_TWICE = (b"0" * 180, b"0" * 180)
SEAL = Seal(7, 1_800_000_000_123, bytes(range(8)), bytes(range(64)))
COMMANDS = Commands((Command("0" * 16, "label", {"window": "w1", "class": "walk"}, 1.5),))
ORDERS = [Configuration(3, {"sync.interval_s": 10.5, "logging.level": '"optional":{"seal":'}), COMMANDS, Commands(),
          Desired("a" * 64, 10, "watch", "1.0.0", 3)]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_without_its_seal_an_order_is_the_message_that_was_sealed_to_the_byte(
    order: Configuration | Commands | Desired,
) -> None:
    message = with_order_seal(order.encode(), SEAL)
    assert without_order_seal(message) == (order.encode(), SEAL)
    assert without_order_seal(order.encode()) == (order.encode(), None)
    assert type(order).decode(message) == order, "who knows no seals reads it all the same"


def test_what_later_releases_add_beside_a_seal_stays_in_what_was_sealed() -> None:
    later = canonical_json({"commands": [], "optional": {"seal": SEAL.digits(), "zone": "utc"}, "schema": 1})
    bare, seal = without_order_seal(later)
    assert (bare, seal) == (b'{"commands":[],"optional":{"zone":"utc"},"schema":1}', SEAL)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"no JSON", "order"),
        (b'{"commands":[],"optional":{"seal":"00"},"schema":1}', "180 hexadecimal digits"),
        (b'{"commands":[],"optional":{"seal":7},"schema":1}', "180 hexadecimal digits"),
        (b'{"optional": {"seal":"%s"},"schema":1}' % SEAL.digits().encode(), "does not stand where"),
        (b'{"a":{"optional":{"seal":"%s"},"b":1},"optional":{"seal":"%s"},"schema":1}' % DIGITS_TWICE,
         "does not stand where"),
        (b'{"optional":{"seal":"0002%s"},"schema":1}' % SEAL.digits()[4:].encode(), "seal of format 0002"),
    ],
)  # fmt: skip
def test_a_seal_that_is_none_is_refused_in_one_line(payload: bytes, problem: str) -> None:
    with pytest.raises(RemoteError, match=problem):
        without_order_seal(payload)


@pytest.mark.parametrize("payload", [b'{"schema": 1}', b'{"optional":{},"schema":1}', b"[]"])
def test_only_the_canonical_form_is_sealed(payload: bytes) -> None:
    with pytest.raises(ValueError, match="only canonical JSON"):
        with_order_seal(payload, SEAL)
