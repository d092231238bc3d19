"""A device with few labels starts from what the others learned: when it asks, and that it stays exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.learner import said
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.trainer import ExactTrainer
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore
from edge_agent.sync.history import SyncState
from headway.class_changes import ClassChanges
from headway.errors import RemoteError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.statistics import Statistics
from headway.ports import Connected, Received
from headway.wire.fleet_prior import FleetPrior, PriorRequest
from headway.wire.messages import PublishedHead
from headway.wire.topics import ALL, Kind, topic
from tests.device import Device
from tests.edge_agent.variants import CLASSES, SIZE, pipeline, variant, windows


def agent(**settings: object) -> Agent:
    learner = HeadLearner(variant(), LearnerSettings(**settings))  # type: ignore[arg-type]
    return Agent("pump", learner, SyncSettings(), SyncState(epoch=7))


def tables(count: int = 300, drift: float = 0.8, seed: int = 4, classes: tuple[str, ...] = CLASSES) -> Statistics:
    x, y = windows(count, drift=drift, seed=seed)
    return Statistics.of(pipeline().features(x).codes, y, classes, variant().space)


def prior(**changes: object) -> bytes:
    return replace(FleetPrior(5, tables()), **changes).encode()  # type: ignore[arg-type]


def head(version: int, samples: int) -> bytes:
    link = Head(np.ones((SIZE, 3), np.float32), np.zeros(3, np.float32), HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)
    return PublishedHead(version, "exact", variant().space, 5, samples, link).encode()


def taught(subject: Agent, count: int, seed: int = 0) -> Agent:
    x, y = windows(count, drift=0.8, seed=seed)
    subject.process(pipeline().features(x), y)
    return subject


def accuracy(subject: Agent) -> float:
    x, y = windows(600, drift=0.8, seed=77)
    probability = said(subject.learner._heads()["exact"], pipeline().features(x), subject.learner.names)
    return float((probability.argmax(axis=1) == y).mean())


def test_two_labels_do_more_on_top_of_what_the_fleet_learned() -> None:
    alone, among = agent(), agent()
    assert among.prior_received(prior())
    assert accuracy(taught(among, 2)) > accuracy(taught(alone, 2)) + 0.1
    assert isinstance(among.learner.trainer, ExactTrainer)
    assert among.learner.trainer.statistics.samples == 2, "its own tables hold its own labels alone"


def test_the_order_of_labels_and_prior_is_repeated_to_the_bit_after_a_restart() -> None:
    subject, store = agent(), MemoryStore()
    store.commit(subject.changes())
    for seed, step in enumerate((prior(statistics=tables(100)), prior())):
        store.commit(taught(subject, 7, seed).changes())
        assert subject.prior_received(step)
        store.commit(subject.changes())
    store.commit(taught(subject, 7, 9).changes())
    again = agent()
    resume(again, store)
    assert again.learner.encode() == subject.learner.encode()
    store.commit(subject.checkpoint())
    from_checkpoint = agent()
    resume(from_checkpoint, store)
    assert from_checkpoint.learner.encode() == subject.learner.encode()
    assert from_checkpoint.learner.prior_samples == 300


def test_windows_without_labels_leave_no_trace_after_the_prior() -> None:
    subject, store = agent(), MemoryStore()
    store.commit(taught(subject, 9).changes())
    assert subject.prior_received(prior())
    store.commit(subject.changes())
    subject.process(pipeline().features(windows(5, drift=0.8, seed=8)[0]), None)
    again = agent()
    resume(again, store)
    assert again.learner.encode() == subject.learner.encode()


def test_it_asks_once_for_a_head_that_holds_twice_what_it_knows() -> None:
    subject = agent()
    assert subject.downlink.prior_request() is None, "nobody has learned anything yet"
    subject.head_published(head(1, 100))
    assert subject.downlink.prior_request() == PriorRequest(variant().space, 0).encode()
    assert subject.downlink.prior_request() is None, "it has asked"
    subject.reconnected()
    assert subject.downlink.prior_request() is not None, "the answer may have been lost"
    subject.prior_received(prior())
    subject.head_published(head(2, 599))
    assert subject.downlink.prior_request() is None
    subject.head_published(head(3, 600))
    assert subject.downlink.prior_request() == PriorRequest(variant().space, 300).encode()


@pytest.mark.parametrize("settings", [{"fleet_prior": False}, {"kind": "gradient"}])
def test_some_never_ask_and_take_none(settings: dict[str, object]) -> None:
    subject = agent(**settings)
    subject.head_published(head(1, 100))
    assert subject.downlink.prior_request() is None
    assert not subject.prior_received(prior())
    assert subject.learner.prior_samples == 0


def test_a_device_with_labels_enough_neither_asks_nor_takes() -> None:
    subject = taught(agent(), ExactSettings().few_labels)
    subject.head_published(head(1, 10_000))
    before = subject.learner.encode()
    assert subject.downlink.prior_request() is None
    assert not subject.prior_received(prior())
    assert subject.learner.encode() == before


def test_an_older_or_smaller_sum_changes_nothing() -> None:
    subject = agent()
    assert subject.prior_received(prior())
    before = subject.learner.encode()
    assert not subject.prior_received(prior())
    assert not subject.prior_received(prior(statistics=tables(90)))
    assert subject.learner.encode() == before


def test_classes_of_the_fleet_are_known_from_then_on() -> None:
    subject = agent()
    x, y = windows(30, seed=5)
    codes = pipeline().features(x).codes
    swims = Statistics.of(codes, np.where(y == 2, 3, y), (*CLASSES, "swim"), variant().space)
    assert subject.prior_received(prior(statistics=swims))
    assert subject.learner.classes == (*CLASSES, "swim")


@pytest.mark.parametrize("renamed_first", [True, False])
def test_a_class_that_came_with_the_fleet_may_be_renamed_before_and_after(renamed_first: bool) -> None:
    """The fleet goes on calling it by its old name, and some devices by the new one."""
    subject = agent()
    x, y = windows(40, seed=5)
    codes, classes = pipeline().features(x).codes, (*CLASSES, "swim", "glide")
    some = Statistics.of(codes[:15], np.where(y[:15] == 2, 3, y[:15]), classes[:4], variant().space)
    more = Statistics.of(codes, np.where(y == 2, 3, np.where(y == 1, 4, y)), classes, variant().space)
    assert subject.prior_received(prior(statistics=some))
    taught(subject, 10)
    rename = ClassChanges(rename=(("swim", "glide"),))
    if renamed_first:
        subject.change_classes(rename)
        taught(subject, 10)
    assert subject.prior_received(prior(statistics=more if renamed_first else some + some))
    if not renamed_first:
        subject.change_classes(rename)
    taught(subject, 10)
    assert subject.learner.classes == (*CLASSES, "glide")
    exact = subject.learner.trainer
    assert isinstance(exact, ExactTrainer)
    assert exact.prior_statistics is not None
    glides = exact.prior_statistics.counts[exact.prior_statistics.classes.index("glide")]
    assert glides == ((y != 0).sum() if renamed_first else 2 * (y[:15] == 2).sum())
    store = MemoryStore()
    store.commit(subject.checkpoint())
    again = agent()
    resume(again, store)
    assert again.learner.encode() == subject.learner.encode()


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (
            prior(statistics=replace(tables(), space="0" * 64)),
            "space",
        ),
        (prior(statistics=Statistics.zeros(SIZE, CLASSES, variant().space)), "no sample"),
        (prior(devices=0), "devices"),
        (prior()[:-3], "prior"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(payload: bytes, problem: str) -> None:
    subject = agent()
    before = subject.learner.encode()
    with pytest.raises(RemoteError, match=problem):
        subject.prior_received(payload)
    assert subject.learner.encode() == before


def test_the_loop_asks_takes_and_commits(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.loop.handle(Connected(session_present=False))
    device.loop.handle(Received(topic("test", ALL, Kind.HEAD), head(1, 100)))
    device.turn()
    assert device.wire.of(Kind.PRIOR_REQUEST) == [PriorRequest(variant().space, 0).encode()]
    device.loop.handle(Received(topic("test", "pump", Kind.PRIOR), prior()))
    assert device.loop.agent.learner.prior_samples == 300
    assert not device.loop.agent._checkpointer._operations, "committed at once"
