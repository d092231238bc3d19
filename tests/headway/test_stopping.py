"""A request to stop is heard at any moment, and never forgotten."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from headway.stopping import STOP_SIGNALS, StopRequest

PATIENCE_S = 10.0


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield StopRequest.on_signals()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_both_signals_ask_to_stop(stop: StopRequest, number: int) -> None:
    assert not stop.requested
    os.kill(os.getpid(), number)
    assert stop.requested


def test_a_second_signal_inside_the_handler_of_the_first_blocks_nobody(stop: StopRequest) -> None:
    depth: list[int] = []

    def wake() -> None:
        depth.append(len(depth))
        if len(depth) < 5:
            os.kill(os.getpid(), signal.SIGTERM)

    stop.wake_with(wake)
    os.kill(os.getpid(), signal.SIGTERM)
    assert depth == [0, 1, 2, 3, 4]


def test_who_waits_for_events_is_woken_at_once(stop: StopRequest) -> None:
    events: queue.SimpleQueue[None] = queue.SimpleQueue()
    stop.wake_with(lambda: events.put(None))
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
    started_s = time.monotonic()
    timer.start()
    events.get(timeout=PATIENCE_S)
    assert time.monotonic() - started_s < PATIENCE_S / 2
    assert stop.requested
    timer.join()


def test_whoever_comes_later_sees_an_earlier_request(stop: StopRequest) -> None:
    stop.request()
    stop.wake_with(lambda: None)
    assert stop.requested
