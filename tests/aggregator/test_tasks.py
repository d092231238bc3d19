"""A fleet of multi-label models, and one of regressions: averaging in the outputs' units, metrics of the right kind."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.commands.device_list import as_table
from aggregator.effects import Effect
from aggregator.heads.fleet_model import FleetModel
from aggregator.policy import AveragingPolicy, Method, Policy
from aggregator.registry.derived import typed_row
from headway.bundle.head_weights import fold_frozen_head, target_scale, weights_over_unit_codes
from headway.errors import BundleError
from headway.maths.metrics import ClassificationSums
from headway.maths.target_metrics import LabelSums, ValueSums
from headway.maths.task import Task
from headway.ports import Received
from headway.wire.messages import Metrics, Update
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import FLEET, Fleet, heads
from tests.arrays import assert_close
from tests.edge_agent.task_variants import OUTPUTS, SIZE, task_variant

TASKS = (Task.MULTI_LABEL, Task.REGRESSION)
POLICY = Policy(Method.AVERAGE, publish_interval_s=0.0, averaging=AveragingPolicy(updates_min=2, clip_norm=1e6))


def fleet(task: Task, policy: Policy = POLICY) -> Fleet:
    return Fleet(policy, build_model=lambda: FleetModel.of(task_variant(task)))


def update(task: Task, device: str, value: float, count: int) -> Received:
    delta = np.full((len(OUTPUTS), SIZE + 1), value, np.float32)
    message = Update(device, 1, 1, 0, count, task_variant(task).space, OUTPUTS, delta)
    return Received(topic(FLEET, device, Kind.UPDATE), message.encode())


@pytest.mark.parametrize("task", TASKS)
def test_a_round_moves_the_head_by_the_weighted_mean_in_the_outputs_units(task: Task) -> None:
    subject, variant = fleet(task), task_variant(task)
    subject.send(update(task, "a", 1.0, 30), update(task, "b", -1.0, 10))
    effects: list[Effect] = subject.pass_time(1.0)
    published = heads(effects)[-1]
    assert (published.method, published.samples, published.head.kind) == ("average", 40, task.link)
    scale = target_scale(variant)
    start = weights_over_unit_codes(fold_frozen_head(variant.frozen_head, variant.features), scale)
    assert_close(weights_over_unit_codes(published.head, scale), start + 0.5, atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_exact_merging_without_statistics_is_refused_at_the_start(task: Task) -> None:
    with pytest.raises(BundleError, match="convert it again, or set method = average"):
        fleet(task, Policy(Method.EXACT))


def test_metrics_of_another_task_are_refused_and_the_right_ones_shown() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    shown = {}
    for task, sums in (
        (Task.MULTI_LABEL, LabelSums.of((values > 0).astype(np.float32), (values > 0).astype(np.float32))),
        (Task.REGRESSION, ValueSums.of(values, values + np.float32(0.1))),
    ):
        subject = fleet(task)
        wrong = ClassificationSums.empty(3)
        subject.send(Received(topic(FLEET, "a", Kind.METRICS), Metrics(1, 1, wrong, wrong).encode()))
        assert subject.refusals == {("", "malformed"): 1} or subject.refusals == {("a", "malformed"): 1}
        subject.send(Received(topic(FLEET, "a", Kind.METRICS), Metrics(1, 2, sums, sums).encode()))
        with subject.store.transaction():
            rows = [typed_row(row) for row in subject.store.devices()]
        assert rows[0].scored == 50
        shown[task] = (rows[0].served_accuracy, rows[0].served_r2, as_table(rows, 0.0))
    assert shown[Task.MULTI_LABEL][0] == 1.0
    assert shown[Task.MULTI_LABEL][1] is None
    assert "100.0 %" in shown[Task.MULTI_LABEL][2]
    assert shown[Task.REGRESSION][0] is None
    assert shown[Task.REGRESSION][1] == pytest.approx(0.99, abs=0.01)
    assert "R2 0.9" in shown[Task.REGRESSION][2]
