"""A commit writes little, and a restart from it gives the same bits as never having stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels.events import SHIFT
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import Changes, MemoryStore, SQLiteStore
from edge_agent.store import checkpointer as checkpointer
from edge_agent.store.journal import Entry
from edge_agent.store.pieces import INDEX, PIECE, join, split
from edge_agent.store.recovery import verify
from edge_agent.sync.history import SyncState
from headway.bundle.head_weights import fold_frozen_head
from headway.errors import StoreError
from headway.wire.messages import PublishedHead
from tests.edge_agent.variants import pipeline, variant, windows
from tests.nightly import nightly

Step = Callable[[Agent], None]


def new_agent(kind: str) -> Agent:
    settings = LearnerSettings(kind=kind, update_labels=5, replay_rows=30)
    return Agent(
        "pump", HeadLearner(variant(), settings), SyncSettings(), SyncState(epoch=7), windows=RememberedWindows(50)
    )


def teach(count: int, seed: int) -> Step:
    x, y = windows(count, drift=0.8, seed=seed)
    return lambda subject: void(subject.process(pipeline().features(x), y, [f"{seed}.{i}" for i in range(count)]))


def correct(seed: int, label: int) -> Step:
    return lambda subject: void(subject.label([f"{seed}.1", f"{seed}.2"], np.array([label, -1])))


def adopt(method: str) -> Step:
    model = variant()
    head = fold_frozen_head(model.head, model.features)
    head = replace(head, kernel=head.kernel * np.float32(0.5))
    payload = PublishedHead(3, method, model.space, 2, 9, head).encode()
    return lambda subject: void(subject.head_published(payload))


def void(_: object) -> None:
    return None


STEPS: list[Step] = [
    teach(1, 0),
    teach(40, 1),
    correct(1, 0),
    teach(7, 2),
    lambda subject: subject.add_class("fall"),
    adopt("exact"),
    teach(9, 3),
    correct(3, 3),
    adopt("average"),
    teach(80, 4),
    teach(3, 5),
]


@pytest.mark.parametrize(
    ("kind", "operations"),
    [
        ("exact", 50),
        ("gradient", 10_000),
        nightly("exact", 4),
        nightly("exact", 10_000),
        nightly("gradient", 4),
        nightly("gradient", 50),
    ],
)
def test_a_restart_after_any_commit_gives_the_same_bits(
    kind: str, operations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "CHECKPOINT_OPERATIONS", operations)
    steady, store = new_agent(kind), MemoryStore()
    expected = MemoryStore()
    for step in STEPS:
        step(steady)
        expected.commit(steady.changes())
        restarted = new_agent(kind)
        resume(restarted, store)
        step(restarted)
        store.commit(restarted.changes())
        assert restarted.learner.encode() == steady.learner.encode()
        assert restarted.sync_state == steady.sync_state
        assert store.outbox(0, 100) == expected.outbox(0, 100)
        assert store.windows() == expected.windows()
    again = new_agent(kind)
    resume(again, store)
    assert again.learner.encode() == steady.learner.encode()


def test_an_entry_is_small_and_a_checkpoint_comes_now_and_then() -> None:
    subject, store = new_agent("exact"), MemoryStore()
    teach(200, 0)(subject)
    store.commit(subject.changes())
    assert store.journal() == []
    sizes = []
    for seed in range(300):
        teach(1, seed)(subject)
        changes = subject.changes()
        sizes += [len(entry) for entry in changes.journal]
        store.commit(changes)
    assert len(sizes) == 299, "one of them was a checkpoint"
    assert max(sizes) < 1000
    assert len(store.journal()) < checkpointer.CHECKPOINT_OPERATIONS


def test_pieces_that_did_not_change_are_not_written_again() -> None:
    subject, store = new_agent("exact"), MemoryStore()
    teach(600, 0)(subject)
    first = subject.checkpoint()
    store.commit(first)
    teach(1, 1)(subject)
    second = subject.checkpoint()
    store.commit(second)
    assert sum(map(len, second.state.values())) < sum(map(len, first.state.values()))
    assert set(first.state) & set(second.state) == {INDEX, "sync", "shift"}
    assert {name for name in store.load() if name.startswith(PIECE)} == set(split(subject.learner.encode())) - {INDEX}


def test_damage_is_found_wherever_it_is() -> None:
    subject, store = new_agent("exact"), MemoryStore()
    teach(60, 0)(subject)
    store.commit(subject.changes())
    saved = store.load()
    assert join(saved) == subject.learner.encode()
    for name in (name for name in saved if name == INDEX or name.startswith(PIECE)):
        broken = bytearray(saved[name])
        broken[len(broken) // 2] ^= 1
        with pytest.raises(StoreError, match="damaged"):
            join(saved | {name: bytes(broken)})
        with pytest.raises(StoreError, match=r"missing|damaged"):
            join({other: value for other, value in saved.items() if other != name})
    damaged = bytearray(saved[SHIFT])
    damaged[-3] ^= 1
    store.commit(Changes({SHIFT: bytes(damaged)}))
    with pytest.raises(StoreError, match="damaged"):
        verify(store)
    teach(3, 1)(subject)
    (entry,) = subject.changes().journal
    for position in range(0, len(entry), 7):
        broken = bytearray(entry)
        broken[position] ^= 4
        with pytest.raises(StoreError, match="damaged"):
            Entry.decode(bytes(broken))


def test_a_store_from_before_journals_is_taken_up(tmp_path: Path) -> None:
    subject = new_agent("exact")
    teach(20, 0)(subject)
    store = SQLiteStore(tmp_path / "agent.sqlite")
    store.commit(Changes({"learner": subject.learner.encode(), "sync": subject.sync_state.encode()}))
    second = new_agent("exact")
    resume(second, store)
    assert second.learner.encode() == subject.learner.encode()
    store.commit(second.checkpoint())
    assert "learner" not in store.load()
