"""Waits between connections, with a chance of our own."""

from __future__ import annotations

import pytest

from headway.mqtt.backoff import STABLE_S, FullJitter
from headway.ports import Response


def bounds(jitter_max_s: float = 8.0, spread_s: float = 3.0) -> FullJitter:
    """A jitter whose chance always picks the upper bound, so that the bound shows."""
    return FullJitter(1.0, jitter_max_s, spread_s, uniform=lambda low, high: high)


def test_failures_double_the_bound_up_to_the_longest() -> None:
    jitter = bounds()
    assert [jitter.wait_s(Response.RETRY, None) for _ in range(5)] == [2.0, 4.0, 8.0, 8.0, 8.0]


def test_every_wait_begins_at_nothing() -> None:
    asked: list[tuple[float, float]] = []
    jitter = FullJitter(1.0, 8.0, 3.0, uniform=lambda low, high: asked.append((low, high)) or 0.25)
    assert jitter.wait_s(Response.RETRY, None) == 0.25
    assert jitter.wait_s(Response.RETRY, STABLE_S) == 0.25
    assert [low for low, _ in asked] == [0.0, 0.0]


def test_after_a_connection_that_worked_the_fleet_is_spread() -> None:
    jitter = bounds()
    for _ in range(4):
        jitter.wait_s(Response.RETRY, None)
    assert jitter.wait_s(Response.RETRY, STABLE_S) == 3.0
    assert jitter.wait_s(Response.RETRY, None) == 6.0


def test_accepted_and_lost_at_once_is_a_failure_too() -> None:
    jitter = bounds()
    assert [jitter.wait_s(Response.RETRY, 0.1) for _ in range(4)] == [3.0, 6.0, 8.0, 8.0]


@pytest.mark.parametrize("response", [Response.SLOW, Response.PERSON])
def test_slow_means_the_longest_bound_at_once(response: Response) -> None:
    assert bounds().wait_s(response, STABLE_S) == 8.0


def test_the_spread_is_never_longer_than_the_longest_wait() -> None:
    assert bounds(jitter_max_s=2.0, spread_s=60.0).wait_s(Response.RETRY, STABLE_S) == 2.0
