"""Windows without a label: guessed only once every class has a label, then all of them; undone to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.agent import Agent
from edge_agent.commands import replay
from edge_agent.commands.recording import UNIT_ROWS, process
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner import AdoptWindowMeans
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.trainer import ExactTrainer
from edge_agent.learner.exact.window_means import WindowMeans
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store.journal import Entry, redo
from edge_agent.store.memory import MemoryStore
from edge_agent.sync.history import SyncState
from headway.arrays import Int64
from headway.class_changes import ClassChanges
from headway.errors import StoreError
from tests.edge_agent.variants import CLASSES, SIZE, IdentityRuntime, pipeline, variant, windows

DRIFT, ROWS = 0.45, 60


def agent(threshold: float = 0.6, store: MemoryStore | None = None) -> Agent:
    settings = LearnerSettings(self_training=threshold)
    remembered = RememberedWindows(settings.horizon_rows)
    subject = Agent("d", HeadLearner(variant(), settings), SyncSettings(), SyncState(epoch=7), windows=remembered)
    if store is not None:
        resume(subject, store)
    return subject


def exact(subject: Agent) -> ExactTrainer:
    assert isinstance(subject.learner.trainer, ExactTrainer)
    return subject.learner.trainer


def sums(subject: Agent) -> Int64:
    return exact(subject)._knowledge.window_means.class_sums


def seen(subject: Agent, drift: float = DRIFT) -> tuple[list[str], Int64]:
    """Has seen windows of all classes; their ids, and the labels that nobody has given yet."""
    x, y = windows(ROWS, drift=drift, seed=2)
    ids = [f"w{row}" for row in range(ROWS)]
    subject.process(pipeline().features(x), None, ids)
    return ids, y


def first_of_each(y: Int64) -> list[int]:
    return [int(np.flatnonzero(y == label)[0]) for label in range(len(CLASSES))]


def label(subject: Agent, ids: list[str], y: Int64, rows: list[int]) -> None:
    subject.label([ids[row] for row in rows], y[rows])


def test_nothing_is_guessed_before_every_class_has_a_label() -> None:
    subject = agent()
    ids, y = seen(subject)
    rows = first_of_each(y)
    label(subject, ids, y, rows[:-1])
    seen_again, _ = windows(20, seed=5)
    subject.process(pipeline().features(seen_again), None, [f"v{row}" for row in range(20)])
    assert exact(subject).pseudo_labels == 0
    assert not sums(subject).any()
    label(subject, ids, y, rows[-1:])
    assert exact(subject).pseudo_labels > 20, "now those that came before are guessed, too"
    assert "windows" in subject.learner.trainer._served._names


def test_a_class_that_nobody_has_labelled_stops_guessing_until_it_has_a_label() -> None:
    subject = agent()
    ids, y = seen(subject)
    subject.add_class("jump")
    label(subject, ids, y, first_of_each(y))
    assert exact(subject).pseudo_labels == 0
    subject.change_classes(ClassChanges(remove=("jump",)))
    more, _ = windows(20, drift=DRIFT, seed=5)
    subject.process(pipeline().features(more), None, [f"v{row}" for row in range(20)])
    assert exact(subject).pseudo_labels > 10, "a class that was removed is none to wait for"


def test_labels_move_windows_from_the_guesses_to_the_labels() -> None:
    subject, without = agent(1.0), agent(0.0)
    for one in (subject, without):
        ids, y = seen(one)
        label(one, ids, y, first_of_each(y))
    assert sums(subject)[-1].sum() == ROWS - 3
    label(subject, ids, y, [first_of_each(y)[0] + 1])
    assert sums(subject)[-1].sum() == ROWS - 4
    label(without, ids, y, [first_of_each(y)[0] + 1])
    assert exact(subject).statistics == exact(without).statistics, "what the fleet is told"
    label(subject, ids, y, list(range(ROWS)))
    label(without, ids, y, list(range(ROWS)))
    assert not sums(subject).any(), "labels enough of every class"
    one, other = (s.learner.trainer.candidates()["exact"] for s in (subject, without))
    assert set(subject.learner.trainer._served._names) == set(without.learner.trainer._served._names)
    np.testing.assert_allclose(one.kernel, other.kernel, rtol=0.2, atol=1e-3)


def test_a_label_taken_back_takes_the_guesses_with_it() -> None:
    subject = agent(1.0)
    ids, y = seen(subject)
    rows = first_of_each(y)
    label(subject, ids, y, rows)
    assert sums(subject).any()
    label(subject, ids, np.full(ROWS, -1), rows[:1])
    assert not sums(subject).any(), "a class has no label any more"


@pytest.mark.parametrize("kept", [(0, 1), (2,)])
def test_guesses_with_uneven_shares_do_not_count(kept: tuple[int, ...]) -> None:
    subject = agent(1.0)
    x, y = windows(90, drift=0.1, seed=2)
    rows = first_of_each(y)
    those = np.array(rows + [row for row in range(90) if y[row] in kept and row not in rows])
    ids = [f"w{row}" for row in range(len(those))]
    subject.process(pipeline().features(x[those]), None, ids)
    label(subject, ids, y[those], [0, 1, 2])
    assert not sums(subject).any()


def test_windows_help_where_they_lie_elsewhere() -> None:
    """Twelve devices, one label of each class: the expert's head errs less than the labels' own."""
    gained = []
    for seed in range(12):
        subject = agent(1.0)
        x, y = windows(ROWS, drift=0.7, seed=100 + seed)
        ids = [f"w{row}" for row in range(ROWS)]
        subject.process(pipeline().features(x), None, ids)
        label(subject, ids, y, first_of_each(y))
        heads = exact(subject)._served.ensemble.solved.heads
        if "windows" in heads:
            test, truth = windows(300, drift=0.7, seed=200 + seed)
            codes = pipeline().features(test).codes.astype(np.float32)
            right = {name: (heads[name].logits(codes).argmax(axis=1) == truth).mean() for name in ("windows", "quick")}
            gained.append(right["windows"] - right["quick"])
    assert len(gained) > 6
    assert np.mean(gained) > 0.005


def test_a_restart_goes_on_to_the_bit() -> None:
    store = MemoryStore()
    subject = agent(store=None)
    store.commit(subject.changes())
    ids, y = seen(subject)
    rows = first_of_each(y)
    label(subject, ids, y, rows)
    store.commit(subject.changes())
    label(subject, ids, y, [rows[0] + 1])
    store.commit(subject.changes())
    assert sums(subject).any()
    journalled = agent(store=store)
    assert journalled.learner.encode() == subject.learner.encode()
    store.commit(subject.checkpoint())
    restored = agent(store=store)
    assert restored.learner.encode() == subject.learner.encode()
    for one in (subject, journalled, restored):
        one.learner.predict(pipeline().features(windows(5, seed=9)[0]))
        label(one, ids, y, [rows[1] + 1])
    assert journalled.learner.encode() == restored.learner.encode() == subject.learner.encode()


def test_sums_that_do_not_fit_are_refused() -> None:
    learner = agent().learner
    with pytest.raises(StoreError, match="window sums"):
        redo(learner, [AdoptWindowMeans(np.zeros((SIZE, 3), np.int64))])
    means = WindowMeans(SIZE, 3)
    means.adopt(np.ones((SIZE + 1, 3), np.int64))
    with pytest.raises(StoreError, match="without a label"):
        WindowMeans(SIZE, 2).restore(means.state())
    means.with_classes(4)
    assert means.class_sums.shape == (SIZE + 1, 4)
    decoded = Entry.decode(Entry(b"", (AdoptWindowMeans(means.class_sums),)).encode())
    (operation,) = decoded.operations
    assert isinstance(operation, AdoptWindowMeans)
    assert_array_equal(operation.class_sums, means.class_sums)


def test_replay_goes_unit_by_unit_as_the_service_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "open_runtime", lambda variant: IdentityRuntime())
    variant().write(tmp_path / "walk.hwb")
    x, y = windows(150, drift=0.7, seed=2)
    given = y.copy()
    given[30:] = -1
    ids = np.array([f"w{row}" for row in range(150)])
    np.savez(tmp_path / "stream.npz", x=x, y=given, id=ids)
    probabilities = {}
    for threshold in (0.0, 0.6):
        settings = LearnerSettings(self_training=threshold)
        replay.replay_recording(tmp_path / "walk.hwb", tmp_path / "stream.npz", tmp_path / "out.npz", settings)
        with np.load(tmp_path / "out.npz") as out:
            probabilities[threshold] = out["probability"]
        device = agent(threshold)
        for start in range(0, 150, UNIT_ROWS):
            unit = slice(start, start + UNIT_ROWS)
            answer = device.process(pipeline().features(x[unit]), given[unit], ids[unit].tolist())
            assert_array_equal(probabilities[threshold][unit], answer.probability)
    assert not np.array_equal(probabilities[0.0], probabilities[0.6]), "self-training shows between labels"
    assert ExactSettings().pseudo_label_batch < UNIT_ROWS
    assert len(process(agent(), pipeline().features(x), None, None)) == 150
