"""Real learners and the real core: a worse head is refused or withdrawn, and devices' labels have the last word."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from aggregator.alerts import BUILT_IN
from aggregator.alerts.rules import found_by
from aggregator.effects import Instant
from aggregator.heads import EvaluationSample, FleetModel, GateState
from aggregator.heads.canaries import AGAIN_S, GOOD, Canaries
from aggregator.held_heads import hold
from aggregator.policy import HeadGatePolicy, Policy
from aggregator.store.rows import BY_HAND, EVERY_EPOCH, HEAD_GATES, QUARANTINED, SUSPICIOUS, HeadGateRow, QuarantineRow
from edge_agent.agent import Agent
from headway.bundle import TrainingRows, Variant
from headway.maths import PairedLoss, Statistics
from headway.maths.paired_loss import COUNT_MAX, STEPS_MAX
from headway.ports import Outgoing, Received
from headway.wire import Kind, TrialReport, topic
from tests.aggregator.fleets import FLEET, Fleet, statistics_message
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows
from tests.simulation.test_head_trials import NONE, Plant

FAR_BETTER = PairedLoss(COUNT_MAX, -COUNT_MAX * STEPS_MAX, COUNT_MAX * STEPS_MAX**2)
GATED = Policy(publish_interval_s=0.0, head_gate=HeadGatePolicy(watch_s=0.0))


def with_sample() -> Variant:
    """The bundle with a sample of its training data, on which the source's own head is right."""
    x, y = windows(240, seed=5)
    return replace(variant(), buffer=TrainingRows(pipeline().features(x).codes, y))


@dataclass
class GatedPlant(Plant):
    """A plant whose windows have drifted so far. sample: whether its bundle carries one.

    liars: so many of those that try a head claim that it is far better, on as many windows as a message can say.
    """

    count: int = 60
    policy: Policy = GATED
    drift: float = 0.2
    sample: bool = True
    liars: int = 0
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = with_sample() if self.sample else variant()
        self.core = Fleet(self.policy, build_model=lambda: FleetModel.of(made))
        self.core.send(*(Received(topic(FLEET, f"d{at}", Kind.TRIAL), NONE) for at in range(self.count)))

    def teach(self, devices: range, counter: int, labels: int = 12, *, wrong: bool = False) -> None:
        """These devices tell statistics of so many labels."""
        for at in devices:
            x, y = windows(labels, drift=self.drift, seed=1000 * counter + at)
            tables = Statistics.of(pipeline().features(x).codes, (y + 2) % 3 if wrong else y, CLASSES, variant().space)
            self.core.send(statistics_message(f"d{at}", 1, counter, tables))

    def hour(self) -> None:
        self.hear(self.core.pass_time(3600.0))
        for name, agent in self.agents.items():
            if self.labels and agent.head_trial.report is not None:
                x, y = windows(self.labels, drift=self.drift, seed=int(self.core.now_s) + int(name[1:]))
                agent.process(pipeline().features(x), y)
        reports = {name: report for name, agent in self.agents.items() if (report := told(agent)) is not None}
        for at, (name, report) in enumerate(sorted(reports.items())):
            report = replace(report, frozen=FAR_BETTER, served=FAR_BETTER) if at < self.liars else report
            self.core.send(Received(topic(FLEET, name, Kind.HEAD_TRIAL), report.encode()))

    def hours(self, count: int) -> None:
        for _ in range(count):
            self.hour()

    @property
    def gate(self) -> HeadGateRow:
        with self.core.store.reading():
            row = self.core.store.rows(HEAD_GATES).get(variant().space)
        assert row is not None
        return row

    @property
    def said(self) -> list[str]:
        """What the gate told, the oldest first."""
        with self.core.store.reading():
            events = self.core.store.events(100)
        return [json.loads(event.detail)["state"] for event in reversed(events) if event.name == "head-gate"]

    def alerts(self) -> dict[str, str]:
        with self.core.store.transaction():
            return found_by(self.core.store, BUILT_IN["head-refused"], (), True, self.core.now_s)


def told(agent: Agent) -> TrialReport | None:
    return agent.head_trial.report


def test_a_head_that_is_worse_on_the_bundles_sample_is_not_published_and_comes_again_when_the_sums_change() -> None:
    plant = GatedPlant()
    plant.teach(range(20), 1)
    plant.hour()
    assert [head.version for head in plant.published] == [1]

    plant.teach(range(60), 2, wrong=True, labels=60)
    plant.hour()
    assert [head.version for head in plant.published] == [1]
    assert plant.gate.state == GateState.REFUSED
    assert "of the bundle's sample of 240" in plant.gate.why
    assert list(plant.alerts()) == ["fleet-head"]
    plant.core.restart()
    plant.hours(8)
    assert [head.version for head in plant.published] == [1]
    assert plant.gate.state == GateState.REFUSED
    assert plant.said == ["refused"]

    plant.teach(range(60), 3)
    plant.hour()
    assert [head.version for head in plant.published] == [1, 2]
    assert plant.said == ["refused", "passed"]
    assert plant.alerts() == {}


def test_labels_of_devices_overrule_the_sample_in_a_world_that_has_changed() -> None:
    plant = GatedPlant(drift=0.9)
    plant.teach(range(60), 1, labels=200)
    plant.hour()
    assert plant.published == []
    assert plant.gate.state == GateState.REFUSED
    plant.hours(10)
    assert [head.version for head in plant.published] == [1]
    assert plant.gate.state == GateState.OPEN
    # the head that passed is the measure from now on
    plant.teach(range(60), 2, labels=220)
    plant.hour()
    assert [head.version for head in plant.published] == [1, 2]
    assert plant.said == ["refused", "passed"]


def test_without_devices_that_try_heads_a_refused_one_waits_for_other_sums() -> None:
    plant = GatedPlant(count=0)
    plant.teach(range(20), 1)
    plant.hour()
    plant.teach(range(60), 2, wrong=True, labels=60)
    plant.hours(3)
    assert [head.version for head in plant.published] == [1]
    assert plant.touched == set()


def test_a_published_head_that_turns_out_worse_is_withdrawn_once_and_a_new_one_has_to_pass_on_labels() -> None:
    plant = GatedPlant(sample=False, drift=0.5)
    plant.teach(range(60), 1)
    plant.hours(8)
    good = plant.published[-1]
    assert plant.gate.good

    plant.teach(range(60), 2, wrong=True, labels=60)
    plant.hour()
    bad = plant.published[-1]
    assert bad.version == good.version + 1
    for at in range(20):
        if at == 2:
            plant.core.restart()
        plant.hour()
        if plant.gate.state == GateState.WITHDRAWN:
            break
    again = plant.published[-1]
    assert plant.gate.state == GateState.WITHDRAWN
    assert again.version > bad.version
    assert np.array_equal(again.head.kernel, good.head.kernel)
    assert "withdrawn" in plant.alerts()["fleet-head"]

    # the same sums bring nothing new, and worse ones are tried but not published
    plant.hours(2)
    plant.teach(range(60), 3, wrong=True, labels=70)
    plant.hours(8)
    assert plant.published[-1].version == again.version

    plant.teach(range(60), 4)
    plant.hours(12)
    assert plant.gate.state == GateState.OPEN
    assert plant.published[-1].version > again.version
    assert plant.said == ["withdrawn", "passed"]


def test_devices_that_lie_about_heads_neither_withdraw_a_good_one_nor_have_a_bad_one_published() -> None:
    plant = GatedPlant(liars=2, drift=0.5, count=30)
    plant.teach(range(30), 1)
    plant.hours(3)
    plant.teach(range(30), 2)
    plant.hours(4)
    assert [head.version for head in plant.published] == [1, 2]
    assert plant.gate.state == GateState.OPEN
    plant.teach(range(30), 3, wrong=True, labels=200)
    plant.hours(4)
    assert plant.gate.state == GateState.REFUSED
    assert plant.said == ["refused"]


def test_who_is_set_aside_tries_no_head_and_what_it_told_before_does_not_count() -> None:
    plant = GatedPlant(drift=0.5)
    plant.teach(range(60), 1)
    plant.hours(2)
    with plant.core.store.transaction():
        canaries = Canaries(FLEET, GOOD, plant.core.store)
        trial = canaries.row()
        assert trial is not None
        first = min(canaries.told(trial))
        plant.core.store.rows(QUARANTINED).put(QuarantineRow(first, EVERY_EPOCH, SUSPICIOUS, 1.0))
        assert first not in canaries.told(trial)
        assert len(canaries.told(trial)) == 9
        canaries.propose(plant.published[-1], 1.0, 10, Instant(1.0, 1.0))
        again = canaries.row()
        assert again is not None
        second, *others = again.canaries.split("\n")
        assert first not in {second, *others}
        assert len(others) == 58
        # nor is one that has said nothing yet asked again
        plant.core.store.rows(QUARANTINED).put(QuarantineRow(second, EVERY_EPOCH, BY_HAND, 1.0))
        sent = canaries.again(Instant(1.0 + AGAIN_S, 1.0 + AGAIN_S))
        asked = {message.topic for message in sent if isinstance(message, Outgoing)}
        assert asked == {topic(FLEET, name, Kind.CANDIDATE) for name in others}


def test_an_operator_who_lets_go_of_a_held_head_ends_what_the_gate_had_decided() -> None:
    plant = GatedPlant()
    plant.teach(range(20), 1)
    plant.hour()
    plant.teach(range(60), 2, wrong=True, labels=60)
    plant.hour()
    assert plant.gate.state == GateState.REFUSED
    for version in (1, 0):
        with plant.core.store.transaction():
            hold(plant.core.store, variant().space, version)
        plant.hour()
    # it is judged anew, by the same measure
    assert plant.said == ["refused", "refused"]


@pytest.mark.parametrize("sample", [True, False])
def test_a_gate_that_is_switched_off_publishes_everything(sample: bool) -> None:
    plant = GatedPlant(sample=sample, policy=replace(GATED, head_gate=HeadGatePolicy(enabled=False)))
    plant.teach(range(20), 1)
    plant.hour()
    plant.teach(range(60), 2, wrong=True, labels=60)
    plant.hours(3)
    assert [head.version for head in plant.published] == [1, 2]
    assert plant.touched == set()


def test_a_bundle_without_a_sample_is_named_once() -> None:
    plant = GatedPlant(sample=False)
    for counter in (1, 2, 3):
        plant.teach(range(20), counter)
        plant.hour()
    notes = [str(effect) for effect in plant.core.effects if "carries no sample" in str(effect)]
    assert len(notes) == 1


def test_a_sample_is_scored_like_the_heads_of_the_page() -> None:
    made = EvaluationSample.of(with_sample())
    assert made is not None
    model = FleetModel.of(with_sample())
    nothing = Statistics.zeros(model.training_statistics.size, CLASSES, model.space)
    right = made.right(model.solve(model.training_statistics, nothing, 0.02))
    assert right is not None
    assert right.mean() > 0.95
