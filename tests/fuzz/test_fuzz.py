"""A short round of every target, from a fixed seed; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import numpy as np
import pytest

from headway.errors import BundleError
from tests.fuzz.run import Find, attack
from tests.fuzz.targets import Target, targets

TARGETS = {target.name: target for target in targets()}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_the_family_comes_out(name: str) -> None:
    inputs = 150 // TARGETS[name].cost
    assert attack(TARGETS[name], inputs, np.random.default_rng(1)) > inputs // 6


def test_a_parser_that_leaks_is_found() -> None:
    careless = Target("careless", (b'{"a":1}',), lambda payload: payload.decode("ascii"), BundleError)
    with pytest.raises(Find, match="careless: UnicodeDecodeError instead of BundleError"):
        attack(careless, 500, np.random.default_rng(1))


def test_a_message_that_is_too_long_is_found() -> None:
    def chatty(payload: bytes) -> object:
        raise BundleError("long" * 1000)

    with pytest.raises(Find, match="message of 4000 characters"):
        attack(Target("chatty", (b"x",), chatty, BundleError), 1, np.random.default_rng(1))


def test_a_message_is_one_line_that_can_be_sent_whatever_is_in_it() -> None:
    assert str(BundleError("two\nlines of caf\udce9")) == r"two\nlines of caf\udce9"
