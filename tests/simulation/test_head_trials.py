"""200 devices and the real core: a new head is tried by 5 % first, and a planted bad one goes no further."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from aggregator.effects import Effect
from aggregator.heads import FleetModel
from aggregator.policy import HeadTrialPolicy, Method, Policy
from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.sync import SyncState
from headway.errors import BundleError
from headway.maths import Statistics
from headway.ports import Outgoing, Received
from headway.wire import Kind, PublishedHead, TrialReport, parse_topic, topic
from tests.aggregator.fleets import FLEET, Fleet, heads, statistics_message
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows

TRIED = Policy(publish_interval_s=0.0, head_trial=HeadTrialPolicy(share=0.05, patience_s=86_400.0))
NONE = TrialReport("", 0, "none").encode()


@dataclass
class Plant:
    """The core and its devices; those that are sent anything have an agent, and get labels."""

    count: int = 200
    policy: Policy = TRIED
    labels: int = 6
    agents: dict[str, Agent] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    published: list[PublishedHead] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = Fleet(self.policy, build_model=lambda: FleetModel.of(variant()))
        self.core.send(*(Received(topic(FLEET, f"d{at}", Kind.TRIAL), NONE) for at in range(self.count)))

    def learn(self, devices: range, *, wrong: bool = False, counter: int = 1, labels: int = 12) -> None:
        """These devices tell statistics of labels."""
        for at in devices:
            x, y = windows(labels, drift=0.5, seed=1000 * counter + at)
            codes = pipeline().features(x).codes
            tables = Statistics.of(codes, (y + 2) % 3 if wrong else y, CLASSES, variant().space)
            self.core.send(statistics_message(f"d{at}", 1, counter, tables))

    def hour(self) -> None:
        """Everything that is due, what it brings about on devices, and what they say."""
        self.hear(self.core.pass_time(3600.0))
        for name, agent in self.agents.items():
            if self.labels and agent.head_trial.report is not None:
                x, y = windows(self.labels, drift=0.5, seed=int(self.core.now_s) + int(name[1:]))
                agent.process(pipeline().features(x), y)
        reports = {name: agent.head_trial.report for name, agent in self.agents.items()}
        for name, report in reports.items():
            if report is not None:
                self.core.send(Received(topic(FLEET, name, Kind.HEAD_TRIAL), report.encode()))

    def hear(self, effects: list[Effect]) -> None:
        self.published += heads(effects)
        for effect in effects:
            if isinstance(effect, Outgoing) and parse_topic(effect.topic).kind is Kind.CANDIDATE:
                name = parse_topic(effect.topic).device
                if effect.payload:
                    self.touched.add(name)
                self.agent(name).head_trial.received(effect.payload)
        for head in heads(effects):
            for agent in self.agents.values():
                agent.head_published(head.encode())

    def agent(self, name: str) -> Agent:
        if name not in self.agents:
            learner = HeadLearner(variant(), LearnerSettings())
            self.agents[name] = Agent(name, learner, SyncSettings(), SyncState(epoch=1))
            if self.published:
                self.agents[name].head_published(self.published[-1].encode())
        return self.agents[name]

    def until_decided(self, hours: int = 30) -> str:
        for _ in range(hours):
            self.hour()
            with self.core.store.transaction():
                told = self.core.store.events(10)
            if not self.core.core._heads.staging.open and told:
                return told[0].detail if told[0].name == "head-trial" else told[-1].detail
        pytest.fail("no verdict")


def newcomer() -> Agent:
    learner, windows_kept = HeadLearner(variant(), LearnerSettings()), RememberedWindows(100)
    return Agent("x", learner, SyncSettings(), SyncState(epoch=1), windows=windows_kept)


def test_a_good_head_is_tried_by_few_and_then_published_to_all() -> None:
    plant = Plant()
    plant.learn(range(20))
    assert plant.core.core._heads.staging.open is False
    plant.hour()
    assert plant.published == []
    assert len(plant.touched) == 10
    assert '"state":"passed"' in plant.until_decided()
    assert [head.version for head in plant.published] == [1]
    assert plant.published[0].samples == 240


def test_a_planted_bad_head_stops_with_5_percent_and_the_old_one_stays() -> None:
    plant = Plant()
    plant.learn(range(20))
    plant.until_decided()
    old = list(plant.published)
    plant.touched.clear()
    plant.learn(range(20, 120), wrong=True)
    plant.core.restart()  # in the middle of it, too
    assert '"state":"halted"' in plant.until_decided()
    assert plant.published == old
    assert 3 <= len(plant.touched) <= 0.05 * 200
    # no device of the fleet took it up, those that tried it included
    assert {agent.learner.fleet_version for agent in plant.agents.values()} <= {0, 1}
    # what comes next is tried again, under the version that was never published
    plant.learn(range(20, 120), counter=2)
    plant.hour()
    assert plant.core.core._heads.staging.open


def test_without_labels_or_devices_a_head_stays_undecided_and_is_dropped() -> None:
    silent = Plant(labels=0)
    silent.learn(range(20))
    assert '"state":"undecided"' in silent.until_decided()
    assert silent.published == []

    nobody = Plant(count=0)
    nobody.learn(range(20))
    assert '"state":"undecided"' in nobody.until_decided()
    assert nobody.touched == set()


def test_by_default_heads_are_published_at_once() -> None:
    plant = Plant(policy=Policy(publish_interval_s=0.0))
    plant.learn(range(3))
    plant.hour()
    assert [head.version for head in plant.published] == [1]
    assert plant.touched == set()


def test_averaging_cannot_wait_for_a_verdict() -> None:
    with pytest.raises(BundleError, match="method = exact only"):
        Plant(policy=replace(TRIED, method=Method.AVERAGE))


def test_a_restart_at_any_moment_goes_on() -> None:
    plant = Plant()
    plant.learn(range(20))
    for _ in range(30):
        plant.hour()
        plant.core.restart()
        if plant.published:
            break
    assert [head.version for head in plant.published] == [1]


def test_labels_and_answers_are_the_same_bits_and_each_label_counts_once() -> None:
    x, y = windows(30, drift=0.5, seed=5)
    features, ids = pipeline().features(x), [f"w{row}" for row in range(30)]
    plant = Plant()
    plant.learn(range(20))
    plant.hour()
    (payload,) = {agent.head_trial._payload for agent in plant.agents.values()}
    learners = []
    for candidate in (payload, b""):
        agent = newcomer()
        agent.head_trial.received(candidate)
        answer = agent.process(features, (y + (np.arange(30) % 5 == 0)) % 3, ids)
        agent.label(ids, y)
        learners.append((agent.learner.encode(), answer.probability.tobytes()))
        report = agent.head_trial.report
        if candidate:
            assert report is not None
            assert (report.frozen.count, report.state) == (30, "running")
            other = newcomer()
            other.head_trial.received(candidate)
            other.process(features, y, ids)
            told = other.head_trial.report
            assert told is not None
            assert told.frozen == report.frozen
    assert learners[0] == learners[1]


def test_a_server_whose_clock_was_set_back_does_not_try_a_head_for_years() -> None:
    silent = Plant(labels=0)
    silent.learn(range(20))
    silent.hour()
    silent.core.set_clock_back(10 * 365 * 86_400.0)
    assert '"state":"undecided"' in silent.until_decided()
