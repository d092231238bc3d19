"""The core: what it answers, what it commits, what it sends, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore
from edge_agent.sync.history import SyncState
from headway.errors import StoreError
from headway.wire.messages import Ack, Metrics, StatisticsReport, Update
from headway.wire.precision import Precision
from headway.wire.topics import Kind
from tests.arrays import assert_close, assert_same
from tests.edge_agent.variants import pipeline, variant, windows

SYNC = SyncSettings(interval_s=10.0, ack_timeout_s=30.0)


def agent(kind: str = "exact", sync: SyncSettings = SYNC, **learner: int) -> Agent:
    settings = LearnerSettings(kind=kind, **learner)  # type: ignore[arg-type]
    return Agent("pump", HeadLearner(variant(), settings), sync, SyncState(epoch=7), run_id=5, draw=lambda bits: 8)


def feed(subject: Agent, count: int = 9, labelled: bool = True, seed: int = 0) -> np.ndarray:
    x, y = windows(count, drift=0.8, seed=seed)
    return subject.process(pipeline().features(x), y if labelled else None).prediction


def test_every_row_is_predicted_before_its_label_is_used() -> None:
    """Flipping the last label cannot change any prediction, flipping the first may change later ones."""
    x, y = windows(30, drift=0.8)
    last = y.copy()
    last[-1] = (last[-1] + 1) % 3
    answers = [agent().process(pipeline().features(x), labels) for labels in (y, last)]
    assert_same(answers[0].probability, answers[1].probability)
    assert_same(answers[0].served_by, answers[1].served_by)


def test_unlabelled_rows_between_labels_change_nothing() -> None:
    x, y = windows(30, drift=0.8)
    sparse = y.copy()
    sparse[::3] = -1
    mixed, only = agent(), agent()
    mixed.process(pipeline().features(x), sparse)
    only.process(pipeline().features(x[sparse >= 0]), y[sparse >= 0])
    assert mixed.learner.encode() == only.learner.encode()


def test_a_batch_in_pieces_gives_the_same_answers() -> None:
    x, y = windows(40, drift=0.8)
    whole, pieces = agent(), agent()
    features = pipeline().features(x)
    expected = whole.process(features, y)
    found = [pieces.process(features.rows(i, i + 7), y[i : i + 7]) for i in range(0, 40, 7)]
    assert_same(np.concatenate([f.probability for f in found]), expected.probability)


def test_statistics_are_sent_once_and_again_only_when_unacknowledged_too_long() -> None:
    subject = agent()
    feed(subject)
    assert subject.due(0.0, connected=False) == []
    first = subject.due(0.0, connected=True)
    assert [send.kind for send in first] == [Kind.METRICS, Kind.STATISTICS]
    assert subject.due(15.0, connected=True) == []
    assert [s.kind for s in subject.due(31.0, connected=True)] == [Kind.METRICS, Kind.STATISTICS]
    subject.acknowledged(Ack(7, 9, 0).encode())
    assert subject.due(100.0, connected=True) == []


def test_new_labels_are_sent_after_the_interval_even_if_the_last_ack_is_missing() -> None:
    subject = agent()
    feed(subject)
    subject.due(0.0, connected=True)
    feed(subject, seed=1)
    assert subject.due(5.0, connected=True) == []
    report = StatisticsReport.decode(subject.due(11.0, connected=True)[1].payload)
    assert (report.epoch, report.counter, report.statistics.samples) == (7, 18, 18)


def test_a_new_connection_sends_at_once() -> None:
    subject = agent()
    feed(subject)
    subject.due(0.0, connected=True)
    subject.reconnected()
    assert subject.due(0.5, connected=True)


def test_the_server_sets_the_pace() -> None:
    subject = agent()
    feed(subject)
    subject.due(0.0, connected=True)
    subject.acknowledged(Ack(7, 9, 0, pace_s=60.0).encode())
    feed(subject, seed=1)
    assert subject.due(30.0, connected=True) == []
    assert subject.due(61.0, connected=True)


def test_the_pace_holds_over_connections() -> None:
    subject = agent()
    feed(subject)
    subject.due(0.0, connected=True)
    subject.acknowledged(Ack(7, 0, 0, pace_s=60.0).encode())
    subject.reconnected()
    assert subject.due(59.0, connected=True) == []
    assert subject.due(60.0, connected=True)


def test_the_pace_holds_for_updates_too() -> None:
    outbox = agent("gradient").outbox
    outbox.set_pace(60.0)
    assert not outbox.paused(0.0)
    outbox.sent(2, 0.0)
    outbox.restart()
    assert outbox.paused(59.0)
    assert not outbox.paused(60.0)


def test_metrics_tell_served_and_frozen_apart() -> None:
    subject = agent()
    feed(subject, count=60)
    metrics = Metrics.decode(subject.due(0.0, connected=True)[0].payload, 3)
    assert metrics.served.samples == metrics.frozen.samples == 60
    assert metrics.served.accuracy > metrics.frozen.accuracy


def test_acks_of_another_epoch_are_ignored_and_of_the_future_begin_a_new_one() -> None:
    subject = agent()
    feed(subject)
    assert subject.acknowledged(Ack(8, 9, 0).encode()) is None
    assert subject.sync_state.acked == 0
    changes = subject.acknowledged(Ack(7, 10, 0, run_id=subject.sync_state.run_id).encode())
    assert changes is not None
    assert changes.acknowledged == 2**53
    assert subject.sync_state.epoch != 7
    assert (subject.sync_state.counter, subject.sync_state.position) == (0, 9)
    assert "older backup" in subject.forked


def test_updates_wait_in_the_outbox_until_acknowledged() -> None:
    subject, store = agent("gradient", update_labels=4), MemoryStore()
    feed(subject)
    store.commit(subject.changes())
    rows = store.outbox(subject.outbox.position(0.0), 10)
    assert [row.sequence for row in rows] == [1, 2]
    update = Update.decode(rows[0].payload)
    assert (update.device, update.epoch, update.sequence, update.samples) == ("pump", 7, 1, 4)
    subject.outbox.sent(2, 0.0)
    assert store.outbox(subject.outbox.position(1.0), 10) == []
    assert len(store.outbox(subject.outbox.position(31.0), 10)) == 2
    changes = subject.acknowledged(Ack(7, 0, 1).encode())
    assert changes is not None
    store.commit(changes)
    assert [row.sequence for row in store.outbox(0, 10)] == [2]


def test_updates_add_up_to_the_way_the_weights_went() -> None:
    subject, store = agent("gradient", update_labels=3), MemoryStore()
    start = subject.learner.trainer.state()[0]["weights"].copy()
    feed(subject, count=12)
    store.commit(subject.changes())
    total = sum(Update.decode(row.payload).delta for row in store.outbox(0, 10))
    assert_close(start + total, subject.learner.trainer.state()[0]["weights"], atol=1e-5)


def test_one_batch_does_not_push_the_outbox_beyond_its_bound() -> None:
    """Found by the simulation, seed 11: room was looked for once a file."""
    subject, store = agent("gradient", update_labels=1), MemoryStore()
    subject.outbox.note_stored(SYNC.outbox_rows_max - 2, 0)
    feed(subject, count=9)
    store.commit(subject.changes())
    rows = store.outbox(0, 100)
    assert len(rows) == 2
    subject.outbox.note_stored(0, SYNC.outbox_bytes_max - len(rows[0].payload))
    feed(subject, count=3)
    store.commit(subject.changes())
    assert len(store.outbox(0, 100)) == 2


def test_new_updates_do_not_put_off_the_lost_one() -> None:
    subject = agent("gradient", update_labels=4)
    subject.outbox.sent(1, 0.0)
    for now_s in (10.0, 20.0, 29.0):
        subject.outbox.sent(subject.outbox.position(now_s) + 1, now_s)
    assert subject.outbox.position(31.0) == 0


def test_a_full_outbox_merges_updates_instead_of_piling_them_up() -> None:
    subject, store = agent("gradient", update_labels=4), MemoryStore()
    subject.outbox.note_stored(SYNC.outbox_rows_max, 0)
    feed(subject, count=12)
    subject.outbox.note_stored(SYNC.outbox_rows_max - 1, 0)
    feed(subject, count=1, seed=1)
    store.commit(subject.changes())
    rows = store.outbox(0, 10)
    assert [Update.decode(row.payload).samples for row in rows] == [13]


def test_gate_decisions_become_events_once() -> None:
    subject = agent()
    feed(subject, count=60)
    events = subject.take_events(5.0)
    assert events[0].name == "head-changed"
    assert events[0].detail["before"] == "frozen"
    assert subject.take_events(6.0) == []


def test_sync_state_round_trips_and_refuses_damage() -> None:
    state = SyncState(1, 2, 3, 4, 5, 6, 7, 8, (9, 10), (11, 12))
    assert SyncState.decode(state.encode()) == state
    for damaged in (b"", b"{}", state.encode()[:-1], b'{"epoch":-1}', state.encode().replace(b"[11,12]", b"[11]")):
        with pytest.raises(StoreError):
            SyncState.decode(damaged)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_rounded_updates_add_up_to_what_was_learned_over_restarts(precision: str) -> None:
    settings = replace(SYNC, update_precision=Precision(precision))
    store = MemoryStore()
    start: np.ndarray | None = None
    for seed in range(12):
        subject = agent("gradient", settings, update_labels=3)
        resume(subject, store)
        weights = subject.learner.trainer.state()[0]["weights"]
        start = weights.copy() if start is None else start
        feed(subject, count=6, seed=seed)
        store.commit(subject.changes())
    rows = [Update.decode(row.payload) for row in store.outbox(0, 100)]
    assert len(rows) == 24
    assert {row.precision for row in rows} == {Precision(precision)}
    learned = subject.learner.trainer.state()[0]["weights"] - start
    off = np.abs(sum(row.delta for row in rows) - learned)
    largest = max(float(np.abs(row.delta).max()) for row in rows)
    assert off.max() <= largest / 127 + 1e-5, "never further off than one rounding"


def test_acknowledged_tables_go_out_again_where_the_broker_lost_the_session() -> None:
    subject = agent()
    x, y = windows(4)
    subject.process(pipeline().features(x), y)
    subject.reconnected()
    assert subject.due(100.0, True)
    subject.sync_state.acked = subject.sync_state.counter
    subject.reconnected(session_present=True)
    assert not subject.due(300.0, True)
    subject.reconnected(session_present=False)
    assert [send.kind for send in subject.due(500.0, True)] == [Kind.METRICS, Kind.STATISTICS]
    assert not subject.due(900.0, True)
