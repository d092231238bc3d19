"""What earlier epochs hold reaches an aggregator that does not know the newest packing."""

from __future__ import annotations

import numpy as np

from edge_agent.effects import Send
from edge_agent.sync.older_epochs import OlderEpochs
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.tensors import decode_tensors
from headway.wire import MESSAGE_BYTES_MAX, Ack, StatisticsReport

CODES, EPOCH, TIMEOUT_S = 120, 3, 60.0


def report() -> StatisticsReport:
    random = np.random.default_rng(1)
    codes = random.integers(-127, 128, (300, CODES)).astype(np.int8)
    return StatisticsReport("d", EPOCH, 300, Statistics.of(codes, random.integers(0, 2, 300), ("a", "b"), "f" * 64))


def version(sends: list[Send]) -> int:
    (send,) = sends
    assert StatisticsReport.decode(send.payload) == report()
    arrays, _ = decode_tensors(send.payload, "statistics", RemoteError, MESSAGE_BYTES_MAX)
    return int(arrays["tables"][0])


def test_what_is_refused_or_not_answered_is_sent_in_the_packing_of_earlier_releases_before_it_is_let_be() -> None:
    older, refused = OlderEpochs(TIMEOUT_S), Ack(EPOCH, 0, 0, refused="malformed")
    older.add(report())
    older.doubt()
    assert version(older.due(0.0)) == 5
    assert version(older.due(TIMEOUT_S)) == 1, "not answered"
    assert version(older.due(2 * TIMEOUT_S)) == 5
    older.acknowledged(refused)
    assert older.due(2.5 * TIMEOUT_S) == []
    assert version(older.due(3 * TIMEOUT_S)) == 1
    older.acknowledged(refused)
    assert older.due(9 * TIMEOUT_S) == []
    older.doubt()
    assert version(older.due(9 * TIMEOUT_S)) == 5
    older.acknowledged(Ack(EPOCH, 300, 0))
    assert older.due(99 * TIMEOUT_S) == []
