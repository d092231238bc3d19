"""Models with several labels per window, and regressions: from a spool file to the gate and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edge_agent
from edge_agent import embed
from edge_agent.agent import Agent
from edge_agent.commands import replay
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.gate.gate import FROZEN
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore
from edge_agent.sync.history import SyncState
from headway.arrays import AnyArray
from headway.bundle.head_weights import fold_frozen_head, target_scale, weights_over_unit_codes
from headway.errors import ConfigError, DataError
from headway.maths.head import Head
from headway.maths.target_metrics import LabelSums, ValueSums
from headway.maths.task import Task
from headway.samples import read_samples
from headway.wire.messages import Metrics, PublishedHead, Update
from tests.arrays import assert_close, assert_same
from tests.edge_agent.task_variants import OUTPUTS, labelled, task_pipeline, task_variant
from tests.edge_agent.variants import IdentityRuntime

TASKS = (Task.MULTI_LABEL, Task.REGRESSION)


def agent(task: Task, **settings: object) -> Agent:
    learner = HeadLearner(task_variant(task), LearnerSettings(**settings))  # type: ignore[arg-type]
    return Agent("room-1", learner, SyncSettings(), SyncState(epoch=5), windows=RememberedWindows(400))


def error(task: Task, outputs: AnyArray, targets: AnyArray) -> float:
    """Wrong labels, or the error relative to the targets' spread, both about 0..1."""
    if task is Task.MULTI_LABEL:
        return float(((outputs >= 0.5) != targets).mean())
    return float((np.abs(outputs - targets).mean(axis=0) / targets.std(axis=0)).mean())


@pytest.mark.parametrize("task", TASKS)
def test_it_learns_what_has_drifted(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task)
    x, y = labelled(task, 300, drift=0.7, seed=2)
    tested, truth = labelled(task, 300, drift=0.7, seed=3)
    before = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    answer = subject.process(pipeline.features(x), y)
    after = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    assert subject.learner.kind == "gradient"
    assert subject.learner.serving != FROZEN
    assert after < 0.5 * before
    assert answer.probability.shape == y.shape
    assert set(answer.served_by) == {FROZEN, subject.learner.serving}
    if task is Task.MULTI_LABEL:
        assert answer.prediction.dtype == np.int64
        assert_same(answer.prediction, answer.probability >= 0.5)
    else:
        assert_same(answer.prediction, answer.probability)


@pytest.mark.parametrize("task", TASKS)
def test_where_nothing_changed_it_does_no_harm(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task)
    tested, truth = labelled(task, 400, seed=3)
    before = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    subject.process(pipeline.features(labelled(task, 200, seed=2)[0]), labelled(task, 200, seed=2)[1])
    assert error(task, subject.process(pipeline.features(tested), None).probability, truth) <= before + 0.01


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("schedule", ["online", "batch", "scheduled"])
def test_every_way_to_train_learns_and_restores_to_the_bit(task: Task, schedule: str) -> None:
    x, y = labelled(task, 120, drift=0.7, seed=2)
    y[::3, 1] = np.nan
    features = task_pipeline(task).features(x)
    straight, first, second = (agent(task, schedule=schedule) for _ in range(3))
    straight.process(features, y)
    first.process(features.rows(0, 55), y[:55])
    second.learner.restore(first.learner.encode())
    second.process(features.rows(55, 120), y[55:])
    assert second.learner.encode() == straight.learner.encode()
    assert straight.learner.labels == 120
    assert straight.learner.serving != FROZEN


@pytest.mark.parametrize("task", TASKS)
def test_unknown_targets_are_neither_learned_nor_scored(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task)
    x, y = labelled(task, 80, drift=0.7, seed=2)
    y[:, 0] = np.nan
    y[5] = np.nan
    start = subject.learner.trainer.candidates()["gradient"].kernel.copy()
    subject.process(pipeline.features(x), y)
    moved = subject.learner.trainer.candidates()["gradient"].kernel
    sums = subject.learner.served_sums
    assert subject.learner.labels == 79
    # the first output still rehearses the training data, and nothing else
    assert np.abs(moved - start)[:, 1:].max() > 0
    if isinstance(sums, LabelSums):
        assert sums.outcomes.sum(axis=1).tolist() == [0, 79, 79]
    elif isinstance(sums, ValueSums):
        assert sums.known.tolist() == [0, 79, 79]


@pytest.mark.parametrize("task", TASKS)
def test_labels_come_late_twice_corrected_or_taken_back(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task)
    x, y = labelled(task, 4, seed=2)
    subject.process(pipeline.features(x), None, ["a", "b", "c", "d"])
    counts = subject.label(["c", "a", "nobody"], y[[2, 0, 1]])
    assert (counts.learned, counts.unknown) == (2, 1)
    assert subject.label(["a"], y[:1]).repeated == 1
    assert subject.label(["a"], 1 - y[:1]).corrected == 1
    assert subject.label(["c"], np.full((1, 3), np.nan, np.float32)).corrected == 1
    assert subject.label(["d"], np.full((1, 3), np.nan, np.float32)).repeated == 1
    remembered = RememberedWindows(400)
    remembered.restore(subject.windows.all())
    kept = remembered.get("a")
    assert kept is not None
    assert_same(np.asarray(kept.label), 1 - y[0])


@pytest.mark.parametrize("task", TASKS)
def test_a_restart_after_any_commit_gives_the_same_bits(task: Task) -> None:
    """Through the journal of targets, unknown ones and corrections in it."""
    pipeline, store, steady = task_pipeline(task), MemoryStore(), agent(task, update_labels=7)
    for seed in range(6):
        x, y = labelled(task, 9, drift=0.7, seed=seed)
        y[1, 2] = y[3] = np.nan
        ids = [f"{seed}.{i}" for i in range(9)]
        restarted = agent(task, update_labels=7)
        resume(restarted, store)
        for subject in (steady, restarted):
            subject.process(pipeline.features(x), y, ids)
            subject.label([f"{seed}.2", f"{seed}.3", f"{seed}.4"], np.stack([y[5], y[5], y[3]]))
        steady.changes()
        store.commit(restarted.changes())
        assert restarted.learner.encode() == steady.learner.encode()
    assert len(store.journal()) == 5


@pytest.mark.parametrize("task", TASKS)
def test_updates_and_fleet_heads_are_in_the_bundles_units(task: Task) -> None:
    subject, pipeline = agent(task, update_labels=40), task_pipeline(task)
    x, y = labelled(task, 40, drift=0.7, seed=2)
    subject.process(pipeline.features(x), y)
    update = Update.decode(subject.changes().outbox[0].payload)
    scale = target_scale(task_variant(task))
    variant = task_variant(task)
    start = weights_over_unit_codes(fold_frozen_head(variant.frozen_head, variant.features), scale)
    learned = weights_over_unit_codes(subject.learner.trainer.candidates()["gradient"], scale)
    assert_close(start + update.delta, learned, atol=1e-4)
    # one unit of a delta is alike for outputs of very different sizes
    norms = np.linalg.norm(update.delta, axis=1)
    assert norms.max() < 10 * norms.min()
    metrics = Metrics.decode(subject.due(1e9, connected=True)[0].payload, len(OUTPUTS))
    assert metrics.served.samples == 40
    head: Head = subject.learner.trainer.candidates()["gradient"]
    assert subject.learner.adopt(PublishedHead(1, "average", variant.space, 2, 80, head))


def test_exact_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match="multi-label"):
        agent(Task.MULTI_LABEL, kind="exact")
    with pytest.raises(ConfigError, match="loss huber does not fit"):
        agent(Task.MULTI_LABEL, loss="huber")


def test_huber_shrugs_off_wild_targets() -> None:
    errors = {}
    tested, truth = labelled(Task.REGRESSION, 300, drift=0.7, seed=3)
    for loss in ("mse", "huber"):
        subject, pipeline = agent(Task.REGRESSION, loss=loss), task_pipeline(Task.REGRESSION)
        x, y = labelled(Task.REGRESSION, 300, drift=0.7, seed=2)
        y[::10] *= -50
        subject.process(pipeline.features(x), y)
        head = subject.learner.trainer.candidates()["gradient"]
        codes = pipeline.features(tested).codes.astype(np.float32)
        errors[loss] = error(Task.REGRESSION, head.logits(codes), truth)
    assert errors["huber"] < 0.5 * errors["mse"]


@pytest.mark.parametrize(
    ("task", "y", "message"),
    [
        (Task.MULTI_LABEL, np.array([[0, 1], [1, 0]]), "takes numbers of shape \\(2, 3\\)"),
        (Task.MULTI_LABEL, np.array([[0, 1, 0], [1, 2, 0]]), "sample 1, output 1 is 2.0; it must be 0, 1 or NaN"),
        (Task.REGRESSION, np.array([[0, 1, np.inf], [1, 2, 0]]), "sample 0, output 2 is inf; it must be finite"),
        (Task.REGRESSION, np.array([[0, 1, 1e300], [1, 2, 0]]), "output 2 is inf"),
        (Task.REGRESSION, np.array(["a", "b"]), "takes numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, task: Task, y: AnyArray, message: str) -> None:
    np.savez(tmp_path / "s.npz", x=np.zeros((2, 8), np.float32), y=y)
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / "s.npz", OUTPUTS, task=task)


@pytest.mark.parametrize("task", TASKS)
def test_replay_writes_a_table_of_predictions(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "open_runtime", lambda variant: IdentityRuntime())
    task_variant(task).write(tmp_path / "room.hwb")
    x, y = labelled(task, 100, drift=0.7)
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    result = replay.replay_recording(
        tmp_path / "room.hwb", tmp_path / "stream.npz", tmp_path / "out.npz", LearnerSettings()
    )
    assert result["task"] == str(task)
    assert isinstance(result["by_class"], dict)
    assert set(result["by_class"]) == set(OUTPUTS)
    with np.load(tmp_path / "out.npz") as out:
        assert out["prediction"].shape == out["probability"].shape == (100, 3)


@pytest.mark.parametrize("task", TASKS)
def test_the_library_takes_and_gives_them_too(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "open_runtime", lambda variant: IdentityRuntime())
    learner = edge_agent.Learner(task_variant(task))
    x, y = labelled(task, 200, drift=0.7, seed=2)
    tested, truth = labelled(task, 200, drift=0.7, seed=3)
    before = learner.score(tested, truth)
    guess = learner.observe(x[0])
    assert learner.label(guess.id, y[0].tolist())
    assert learner.label(guess.id, None)
    assert guess.label == ("" if task is Task.REGRESSION else guess.label)
    learner.learn_one(x[1], y[1]).learn_many(x[2:], y[2:])
    assert learner.score(tested, truth) > before + 0.1
    assert learner.predict(tested).shape == truth.shape
    assert len(learner.predict_one(tested[0])) == 3
    with pytest.raises(DataError, match="3 numbers|shape"):
        learner.learn_one(x[0], "heater")
    learner.save(tmp_path / "state")
    again = edge_agent.Learner(task_variant(task)).load(tmp_path / "state")
    assert_same(again.predict_proba(tested), learner.predict_proba(tested))
