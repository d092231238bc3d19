"""What waits to be stored is bounded, whatever a fleet sends at once after an outage, and nothing of it is lost."""

from __future__ import annotations

import threading
import time

import pytest

from aggregator.message_queue import MessageQueue
from headway.ports import Connected, Received, TransportEvent

KB = 1024


def message(number: int, size: int) -> Received:
    return Received(f"t/{number}", bytes(size))


@pytest.mark.parametrize(("messages_max", "bytes_max"), [(10_000, 64 * KB), (6, 1 << 30)])
def test_a_flood_waits_outside_and_comes_in_order(messages_max: int, bytes_max: int) -> None:
    queue, sent = MessageQueue(messages_max, bytes_max), [message(number, 10 * KB) for number in range(200)]
    put = 0

    def flood() -> None:
        nonlocal put
        for one in sent:
            queue.put(one)
            put += 1

    thread = threading.Thread(target=flood)
    thread.start()
    taken: list[TransportEvent] = []
    while len(taken) < len(sent):
        assert put - len(taken) <= 7, "six of ten kilobytes wait, and one may have come in since"
        some = queue.take(500, 5.0)
        assert 1 <= len(some) <= 6
        taken += some
    thread.join()
    assert taken == sent


def test_a_transaction_takes_a_quarter_of_what_may_wait() -> None:
    queue = MessageQueue(10_000, 64 * KB)
    for number in range(12):
        queue.put(message(number, 5 * KB))
    assert [len(queue.take(500, 0.0)) for _ in range(4)] == [3, 3, 3, 3]
    assert queue.take(500, 0.0) == []


def test_a_message_longer_than_all_that_may_wait_is_taken_alone() -> None:
    queue = MessageQueue(10_000, 64 * KB)
    queue.put(message(0, 100 * KB))
    thread = threading.Thread(target=queue.put, args=(message(1, 1),))
    thread.start()
    assert queue.take(500, 5.0) == [message(0, 100 * KB)]
    thread.join()
    assert queue.take(500, 5.0) == [message(1, 1)]


def test_whoever_waits_for_room_is_let_go_when_it_closes() -> None:
    queue = MessageQueue(1, 1 << 30)
    queue.put(Connected(False))
    thread = threading.Thread(target=queue.put, args=(message(1, 1),))
    thread.start()
    queue.close()
    thread.join()
    assert queue.take(500, 0.0) == [Connected(False)]
    assert queue.take(500, 0.0) == []


def test_nothing_comes_until_the_time_is_over() -> None:
    began_s = time.monotonic()
    assert MessageQueue(1, 1 << 30).take(500, 0.05) == []
    assert time.monotonic() - began_s >= 0.05
