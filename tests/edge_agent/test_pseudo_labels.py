"""Self-training: learned from, but never scored, counted or told, and undone to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.exact.pseudo_labels import PseudoLabels
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.trainer import ExactTrainer
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore
from edge_agent.sync.history import SyncState
from headway.errors import ConfigError, StoreError
from headway.maths.statistics import Statistics
from tests.edge_agent.variants import SIZE, pipeline, variant, windows

BATCH = ExactSettings().pseudo_label_batch


def agent(threshold: float, store: MemoryStore | None = None) -> Agent:
    settings = LearnerSettings(self_training=threshold)
    remembered = RememberedWindows(settings.horizon_rows)
    subject = Agent("d", HeadLearner(variant(), settings), SyncSettings(), SyncState(epoch=7), windows=remembered)
    if store is not None:
        resume(subject, store)
    return subject


def exact(subject: Agent) -> ExactTrainer:
    assert isinstance(subject.learner.trainer, ExactTrainer)
    return subject.learner.trainer


def taught(threshold: float, unlabelled: int = 60) -> Agent:
    subject = agent(threshold)
    x, y = windows(20, seed=1)
    subject.process(pipeline().features(x), y)
    x, _ = windows(unlabelled, seed=2)
    subject.process(pipeline().features(x), None, [f"w{row}" for row in range(unlabelled)])
    return subject


def test_off_by_default() -> None:
    subject = taught(LearnerSettings().self_training)
    assert exact(subject).pseudo_labels == 0


def test_what_is_guessed_moves_the_head_and_nothing_else() -> None:
    without, guessing = taught(0.0), taught(0.9)
    assert exact(guessing).pseudo_labels > BATCH
    assert guessing.learner.labels == without.learner.labels == 20
    assert guessing.learner.served_sums.to_json() == without.learner.served_sums.to_json()
    assert guessing.sync_state.counter == without.sync_state.counter
    assert exact(guessing).statistics == exact(without).statistics, "what the fleet is told"
    one, other = (s.learner.trainer.candidates()["exact"].kernel for s in (guessing, without))
    assert not np.array_equal(one, other)


def test_true_labels_undo_the_guesses_to_the_bit() -> None:
    without, guessing = taught(0.0), taught(0.9)
    _, y = windows(60, seed=2)
    for subject in (without, guessing):
        ids = [f"w{row}" for row in range(60)]
        served = [subject.windows.get(name) for name in ids]
        assert all(window is not None for window in served)
        subject.label(ids, y)
    assert exact(guessing).pseudo_labels == 0
    assert exact(guessing).statistics == exact(without).statistics
    np.testing.assert_array_equal(exact(guessing)._knowledge.pseudo_labels.statistics.gram, 0)
    np.testing.assert_array_equal(exact(guessing)._knowledge.pseudo_labels.statistics.class_sums, 0)
    x, _ = windows(50, seed=3)
    one, other = (s.process(pipeline().features(x), None).probability for s in (guessing, without))
    np.testing.assert_allclose(one, other, atol=0.05)


def test_a_restart_goes_on_to_the_bit() -> None:
    store = MemoryStore()
    subject = agent(0.9)
    store.commit(subject.changes())
    x, y = windows(90, seed=1)
    features = pipeline().features(x)
    for start in range(0, 90, 9):
        labels = y[start : start + 9].copy()
        labels[3:] = -1
        subject.process(features.rows(start, start + 9), labels, [f"w{start + row}" for row in range(9)])
        subject.label([f"w{start + 5}"], y[start + 5 : start + 6])
        store.commit(subject.changes())
        if start == 45:
            store.commit(subject.checkpoint())
    again = agent(0.9, store)
    assert exact(subject).pseudo_labels > BATCH
    assert again.learner.encode() == subject.learner.encode()
    rest, truth = windows(30, seed=4)
    one, other = (s.process(pipeline().features(rest), truth).probability for s in (subject, again))
    assert_array_equal(one, other)


def test_a_learner_that_cannot_undo_refuses() -> None:
    with pytest.raises(ConfigError, match="self_training needs the exact learner"):
        HeadLearner(variant(), LearnerSettings(kind="gradient", self_training=0.9))


def test_damage_is_refused() -> None:
    source = variant().training_statistics
    subject = PseudoLabels(Statistics.zeros(SIZE, source.classes, source.space), BATCH)
    subject.add(np.ones((1, SIZE), np.int8), 1)
    state = subject.state() | {"guesses.codes": np.ones((2, SIZE), np.int8)}
    with pytest.raises(StoreError, match="guesses"):
        subject.restore(state)
