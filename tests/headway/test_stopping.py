"""A request to stop is heard at any moment, and never forgotten."""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from headway.stopping import MEANINGLESS_SIGNALS, STOP_SIGNALS, StopRequest

PATIENCE_S = 10.0


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, *MEANINGLESS_SIGNALS)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield StopRequest.on_signals()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_each_signal_asks_to_stop(stop: StopRequest, number: int) -> None:
    assert not stop.requested
    os.kill(os.getpid(), number)
    assert stop.requested


def test_under_nohup_the_end_of_the_terminal_is_no_request() -> None:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stop = StopRequest.on_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", MEANINGLESS_SIGNALS)
def test_signals_without_a_meaning_end_nothing(stop: StopRequest, number: int) -> None:
    os.kill(os.getpid(), number)
    assert not stop.requested


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


def test_a_signal_that_is_handled_late_does_not_turn_a_short_wait_into_one_for_ever(stop: StopRequest) -> None:
    """As on a busy machine: the wait's time is over before the handler returns."""
    events: queue.SimpleQueue[None] = queue.SimpleQueue()
    timeout_s = 0.02

    def wake_late() -> None:
        handled_s = time.monotonic()
        while time.monotonic() < handled_s + 2 * timeout_s:
            pass
        events.put(None)

    stop.wake_with(wake_late)
    timer = threading.Timer(timeout_s / 4, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    try:
        events.get(timeout=timeout_s)
    except queue.Empty:
        timer.join()  # the timer was late, not the handler
    faulthandler.cancel_dump_traceback_later()
    timer.join()
    assert stop.requested


def test_whoever_comes_later_sees_an_earlier_request(stop: StopRequest) -> None:
    stop.request()
    stop.wake_with(lambda: None)
    assert stop.requested
