"""One way to change a learner: what happened live, applied again, gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import CorrectLabel, HeadLearner, LearnLabel, Operation, WithdrawPseudoLabel, apply
from edge_agent.learner_settings import LearnerSettings
from edge_agent.store import Entry, MemoryStore
from edge_agent.sync import SyncState
from headway.class_changes import ClassChanges
from headway.errors import LocalError
from headway.samples import UNLABELLED
from tests.arrays import assert_same
from tests.edge_agent.variants import pipeline, variant, windows

ROWS = 9


def journalled(settings: LearnerSettings, turns: int = 8) -> tuple[Agent, list[Operation]]:
    """An agent whose life holds labels, late ones, corrections and new classes, and its journal."""
    memory = RememberedWindows(settings.horizon_rows)
    agent = Agent("pump", HeadLearner(variant(), settings), SyncSettings(), SyncState(epoch=7), windows=memory)
    store = MemoryStore()
    store.commit(agent.changes())
    for turn in range(turns):
        x, y = windows(ROWS, seed=turn, drift=0.4)
        labels = y.copy()
        labels[3:] = UNLABELLED
        ids = [f"{turn}.{row}" for row in range(ROWS)]
        agent.process(pipeline().features(x), labels, ids)
        agent.label([ids[4], ids[0], ids[1]], np.array([y[4], (y[0] + 1) % 3, UNLABELLED]))
        if turn == 3:
            agent.add_class("jump")
            agent.change_classes(ClassChanges(rename=(("jump", "leap"),)))
        store.commit(agent.changes())
    labels_before, operations = 0, list[Operation]()
    for payload in store.journal():
        entry = Entry.decode(payload, labels_before)
        operations += entry.operations
        labels_before += sum(isinstance(operation, LearnLabel) for operation in entry.operations)
    return agent, operations


@pytest.mark.parametrize(
    "settings",
    [
        LearnerSettings(kind="exact"),
        LearnerSettings(kind="exact", self_training=0.7),
        LearnerSettings(kind="gradient", update_labels=5),
    ],
    ids=["exact", "pseudo-labels", "gradient"],
)
def test_the_journal_applied_to_another_learner_gives_the_same_bits(settings: LearnerSettings) -> None:
    agent, operations = journalled(settings)
    again = HeadLearner(variant(), settings)
    for operation in operations:
        apply(again, operation)
    assert again.encode() == agent.learner.encode()
    assert any(isinstance(operation, CorrectLabel) for operation in operations)
    assert any(isinstance(operation, WithdrawPseudoLabel) for operation in operations) == bool(settings.self_training)
    taken = [op.takes_update for op in operations if isinstance(op, LearnLabel)]
    assert any(taken) == (settings.kind == "gradient")


def test_labels_are_numbered_in_the_order_in_which_they_are_learned() -> None:
    agent, operations = journalled(LearnerSettings(kind="exact"))
    numbers = [operation.number for operation in operations if isinstance(operation, LearnLabel)]
    assert numbers == list(range(agent.learner.trainer.labels))
    for operation in operations:
        if isinstance(operation, CorrectLabel):
            learned = next(op for op in operations if isinstance(op, LearnLabel) and op.number == operation.number)
            assert_same(learned.features.codes, operation.features.codes)


def test_what_cannot_be_undone_is_not_learned() -> None:
    trainer = HeadLearner(variant(), LearnerSettings(kind="gradient")).trainer
    codes = pipeline().features(windows(1)[0]).codes
    with pytest.raises(LocalError, match="self_training needs the exact learner"):
        trainer.add_pseudo_label(codes, 0)
    with pytest.raises(LocalError, match="self_training needs the exact learner"):
        trainer.withdraw_pseudo_label(codes, 0)
    with pytest.raises(LocalError, match="self_training needs the exact learner"):
        trainer.adopt_window_means(np.zeros((codes.shape[1] + 1, 3), np.int64))
    assert trainer.guess_windows(codes) is None


def test_a_finished_update_is_foreseen_by_the_label_before() -> None:
    trainer = HeadLearner(variant(), LearnerSettings(kind="gradient", update_labels=3)).trainer
    codes = pipeline().features(windows(3)[0]).codes
    foreseen = []
    for row in range(3):
        foreseen.append(trainer.finishes_update)
        trainer.learn(codes[row : row + 1], np.array([0]))
    assert foreseen == [False, False, True]
    update = trainer.take_update()
    assert update is not None
    assert update.samples == 3
    assert trainer.take_update() is None
