"""The exact learner of regressions and multi-label models: on the device, from the first label to a restart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.gate.gate import FROZEN
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner.outputs import said
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store.memory import MemoryStore
from edge_agent.sync.history import SyncState
from headway.arrays import AnyArray
from headway.bundle.container import BundleLimits, Container, decode_container
from headway.bundle.variant import decode_variant
from headway.errors import BundleError, ConfigError, RemoteError, StoreError
from headway.maths.statistics import Statistics
from headway.maths.target_codes import WINDOWS
from headway.maths.task import Task
from headway.wire.fleet_prior import FleetPrior
from tests.edge_agent.task_variants import OUTPUTS, SIZE, labelled, task_pipeline, task_variant
from tests.edge_agent.test_tasks import error
from tests.nightly import nightly

TASKS = (Task.MULTI_LABEL, Task.REGRESSION)


def agent(task: Task, **settings: object) -> Agent:
    learner = HeadLearner(task_variant(task, exact=True), LearnerSettings(**settings))  # type: ignore[arg-type]
    return Agent("room-1", learner, SyncSettings(), SyncState(epoch=5), windows=RememberedWindows(400))


def statistics(subject: Agent) -> Statistics:
    found = subject.learner.trainer.statistics
    assert found is not None
    return found


@pytest.mark.parametrize("task", TASKS)
def test_it_learns_what_has_drifted_sooner_than_by_descent(task: Task) -> None:
    pipeline = task_pipeline(task, exact=True)
    x, y = labelled(task, 60, drift=0.7, seed=2)
    tested, truth = labelled(task, 300, drift=0.7, seed=3)
    errors = {}
    for kind in ("auto", "gradient"):
        subject = agent(task, kind=kind)
        before = error(task, subject.process(pipeline.features(tested), None).probability, truth)
        subject.process(pipeline.features(x), y)
        errors[subject.learner.kind] = error(task, subject.process(pipeline.features(tested), None).probability, truth)
        assert subject.learner.serving != FROZEN
    assert errors["exact"] < 0.5 * before
    assert errors["exact"] < errors["gradient"]


@pytest.mark.parametrize("task", TASKS)
def test_where_nothing_changed_it_does_no_harm(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task, exact=True)
    tested, truth = labelled(task, 400, seed=3)
    before = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    x, y = labelled(task, 200, seed=2)
    subject.process(pipeline.features(x), y)
    assert error(task, subject.process(pipeline.features(tested), None).probability, truth) <= before + 0.01


def test_while_labels_are_few_a_value_lies_between_both_heads_and_is_nearer_to_the_truth() -> None:
    subject, pipeline = agent(Task.REGRESSION), task_pipeline(Task.REGRESSION, exact=True)
    x, y = labelled(Task.REGRESSION, 60, drift=0.7, seed=3)
    later = pipeline.features(labelled(Task.REGRESSION, 20, drift=0.7, seed=4)[0])
    for count in (2, 5, 11):
        subject.process(pipeline.features(x[:count]), y[:count])
        heads = subject.learner._heads()
        frozen, learned = (said(heads[name], later, subject.learner.names) for name in (FROZEN, "exact"))
        served = subject.learner.predict(later).probability
        assert (served >= np.minimum(frozen, learned) - 1e-5).all()
        assert (served <= np.maximum(frozen, learned) + 1e-5).all()
    assert np.abs(served - learned).mean() < np.abs(served - frozen).mean()


@pytest.mark.parametrize("task", TASKS)
def test_order_does_not_matter_to_the_statistics(task: Task) -> None:
    pipeline, one, other = task_pipeline(task, exact=True), agent(task), agent(task)
    x, y = labelled(task, 40, drift=0.7, seed=2)
    y[::3, 1] = np.nan
    one.process(pipeline.features(x), y)
    other.process(pipeline.features(x[::-1].copy()), y[::-1].copy())
    assert statistics(one) == statistics(other)
    assert statistics(one).samples == 40


@pytest.mark.parametrize("rows", [150, nightly(300)])
@pytest.mark.parametrize("task", TASKS)
def test_saved_and_restored_it_goes_on_to_the_bit(task: Task, rows: int) -> None:
    pipeline = task_pipeline(task, exact=True)
    x, y = labelled(task, rows, drift=0.7, seed=2)
    y[::7, 1] = np.nan
    features = pipeline.features(x)
    straight = agent(task)
    straight.process(features, y)
    for cut in (55, 131):
        first, second = agent(task), agent(task)
        first.process(features.rows(0, cut), y[:cut])
        first.process(features.rows(0, 9), None)
        second.learner.restore(first.learner.encode())
        second.process(features.rows(cut, rows), y[cut:])
        assert second.learner.encode() == straight.learner.encode()


@pytest.mark.parametrize("task", TASKS)
def test_a_restart_after_any_commit_gives_the_same_bits(task: Task) -> None:
    """Through the journal of targets, unknown ones and corrections in it."""
    pipeline, store, steady = task_pipeline(task, exact=True), MemoryStore(), agent(task)
    for seed in range(6):
        x, y = labelled(task, 9, drift=0.7, seed=seed)
        y[1, 2] = y[3] = np.nan
        ids = [f"{seed}.{i}" for i in range(9)]
        restarted = agent(task)
        resume(restarted, store)
        for subject in (steady, restarted):
            subject.process(pipeline.features(x), y, ids)
            subject.label([f"{seed}.2", f"{seed}.3", f"{seed}.4"], np.stack([y[5], y[5], y[3]]))
        steady.changes()
        store.commit(restarted.changes())
        assert restarted.learner.encode() == steady.learner.encode()
    assert len(store.journal()) == 5


@pytest.mark.parametrize("task", TASKS)
def test_a_correction_leaves_statistics_and_head_as_if_it_had_been_right(task: Task) -> None:
    pipeline, right, corrected, without = task_pipeline(task, exact=True), agent(task), agent(task), agent(task)
    x, y = labelled(task, 30, drift=0.7, seed=2)
    features, ids = pipeline.features(x), [str(i) for i in range(30)]
    wrong = y.copy()
    wrong[10] = 1 - y[10]
    right.process(features, y, ids)
    corrected.process(features, wrong, ids)
    assert statistics(right) != statistics(corrected)
    corrected.label(["10"], y[10:11])
    assert statistics(right) == statistics(corrected)
    heads = [subject.learner.trainer.candidates()["exact"] for subject in (right, corrected)]
    assert np.array_equal(heads[0].kernel, heads[1].kernel)
    assert np.array_equal(heads[0].bias, heads[1].bias)
    corrected.label(["10"], np.full((1, 3), np.nan, np.float32))
    kept = np.arange(30) != 10
    without.process(pipeline.features(x[kept]), y[kept])
    assert statistics(corrected) == statistics(without)
    with_number_31 = labelled(task, 12, drift=0.7, seed=4)
    corrected.process(pipeline.features(with_number_31[0]), with_number_31[1])
    assert statistics(corrected).samples == 29 + 12


@pytest.mark.parametrize("task", TASKS)
def test_unknown_targets_are_left_out(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task, exact=True)
    x, y = labelled(task, 80, drift=0.7, seed=2)
    y[:, 0] = np.nan
    y[5] = np.nan
    start = subject.learner.trainer.candidates()["exact"]
    tested = pipeline.features(labelled(task, 50, seed=3)[0]).codes.astype(np.float32)
    before = start.probabilities(tested)
    subject.process(pipeline.features(x), y)
    after = subject.learner.trainer.candidates()["exact"].probabilities(tested)
    assert subject.learner.labels == 79
    spread = np.abs(before - before.mean(axis=0)).mean(axis=0)
    moved = np.abs(after - before).mean(axis=0) / spread
    assert moved[1:].min() > 2 * moved[0]


@pytest.mark.parametrize("task", TASKS)
def test_partly_known_targets_still_beat_the_frozen_head(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task, exact=True)
    x, y = labelled(task, 200, drift=0.7, seed=2)
    y[np.random.default_rng(0).random(y.shape) < 0.5] = np.nan
    tested, truth = labelled(task, 300, drift=0.7, seed=3)
    before = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    subject.process(pipeline.features(x), y)
    after = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    assert after < 0.6 * before


@pytest.mark.parametrize("task", TASKS)
def test_after_a_drift_the_newest_labels_count(task: Task) -> None:
    subject, pipeline = agent(task), task_pipeline(task, exact=True)
    parts = [labelled(task, 150, drift=drift, seed=seed) for drift, seed in ((0.0, 1), (1.0, 2))]
    for x, y in parts:
        subject.process(pipeline.features(x), y)
    assert any(name.startswith("since-drift") for name in subject.learner.trainer._served.names)  # type: ignore[attr-defined]
    tested, truth = labelled(task, 300, drift=1.0, seed=3)
    served = error(task, subject.process(pipeline.features(tested), None).probability, truth)
    assert served < 0.15


@pytest.mark.parametrize("task", TASKS)
def test_what_it_needs_is_named(task: Task) -> None:
    with pytest.raises(ConfigError, match="without statistics of its targets; convert it again"):
        HeadLearner(task_variant(task), LearnerSettings(kind="exact"))
    assert HeadLearner(task_variant(task), LearnerSettings()).kind == "gradient"
    assert HeadLearner(task_variant(task, exact=True), LearnerSettings(kind="exact")).kind == "exact"


@pytest.mark.parametrize("task", TASKS)
def test_damaged_state_is_refused(task: Task) -> None:
    subject, other, pipeline = agent(task), agent(task), task_pipeline(task, exact=True)
    subject.process(pipeline.features(labelled(task, 30, seed=1)[0]), labelled(task, 30, seed=1)[1])
    blob = subject.learner.encode()
    for name, renamed in (
        (b"trainer.evidence.rows", b"trainer.evidence.row_"),
        (b"trainer.bucket.0.", b"trainer.bucket_0."),
    ):
        assert name in blob
        with pytest.raises(StoreError):
            other.learner.restore(blob.replace(name, renamed))
    with pytest.raises(StoreError):
        HeadLearner(task_variant(task), LearnerSettings()).restore(blob)


@pytest.mark.parametrize("task", TASKS)
def test_it_starts_from_what_other_devices_learned(task: Task) -> None:
    pipeline, teacher, subject = task_pipeline(task, exact=True), agent(task), agent(task)
    x, y = labelled(task, 400, drift=0.7, seed=2)
    teacher.process(pipeline.features(x), y)
    tested, truth = labelled(task, 300, drift=0.7, seed=3)
    features = pipeline.features(tested).codes.astype(np.float32)
    before = error(task, subject.learner.trainer.candidates()["exact"].probabilities(features), truth)
    payload = FleetPrior(3, statistics(teacher)).encode()
    assert subject.learner.adopt_prior(FleetPrior.decode(payload, subject.learner.statistics_size))
    after = error(task, subject.learner.trainer.candidates()["exact"].probabilities(features), truth)
    assert after < 0.8 * before
    restored = agent(task)
    restored.learner.restore(subject.learner.encode())
    assert restored.learner.encode() == subject.learner.encode()
    hostile = statistics(teacher)
    gram = hostile.gram.copy()
    gram[SIZE, SIZE] += 1 << 30
    with pytest.raises(RemoteError, match="digits"):
        subject.learner.adopt_prior(FleetPrior(3, Statistics(gram, hostile.class_sums, WINDOWS, hostile.space)))


@pytest.mark.parametrize("task", TASKS)
def test_a_bundle_keeps_its_target_codes(task: Task) -> None:
    variant = task_variant(task, exact=True)
    again = decode_variant(decode_container(variant.encode(), BundleLimits()))
    assert again.targets is not None
    assert variant.targets is not None
    assert np.array_equal(again.targets.scale, variant.targets.scale)
    assert again.training_statistics == variant.training_statistics
    assert again.task is task
    assert again.classes == OUTPUTS
    assert again.encode() == variant.encode()
    assert again.feature_statistics.size == SIZE


def _damaged(change: Callable[[dict[str, AnyArray]], None]) -> Container:
    from headway.bundle.container import encode_container
    from headway.tensors import decode_tensors, encode_tensors

    variant = task_variant(Task.REGRESSION, exact=True)
    container = decode_container(variant.encode(), BundleLimits())
    tensors, _ = decode_tensors(container.members["tensors.safetensors"], "t", BundleError, 1 << 28)
    change(tensors)
    members = {**container.members, "tensors.safetensors": encode_tensors(tensors)}
    manifest = {name: value for name, value in container.manifest.items() if name != "members"}
    return decode_container(encode_container(manifest, members), BundleLimits())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.pop("targets.scale"), "targets.scale is missing"),
        (lambda t: t.pop("targets.offset"), "unknown tensors|does not inflate|refused"),
        (lambda t: t.update({"targets.scale": np.zeros(3, np.float32)}), "target scales"),
        (lambda t: t.update({"targets.offset": np.zeros(2, np.float32)}), "targets.offset must be"),
    ],
)
def test_target_codes_that_do_not_fit_are_refused(change: Callable[[dict[str, AnyArray]], None], problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        decode_variant(_damaged(change))
