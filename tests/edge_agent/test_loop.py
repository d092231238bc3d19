"""What the device's loop does with news from the network, on fakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.learner_settings import LearnerSettings
from edge_agent.loop import DeviceLoop
from edge_agent.store import MemoryStore
from headway.ports import Connected, Delivered, Disconnected, NotSubscribed, Received, Response
from headway.wire.messages import Ack, Reported, Update
from headway.wire.topics import Kind, parse_topic, topic
from tests.device import ManualClock, RecordingTransport, open_device
from tests.edge_agent.variants import pipeline, windows


@pytest.fixture
def loop(tmp_path: Path) -> DeviceLoop:
    sensor = SensorSettings(tmp_path / "spool", tmp_path / "predictions")
    sync = SyncSettings(interval_s=1.0, ack_timeout_s=1.0)
    config = AgentConfig("wrist-1", "plant", tmp_path / "model.hwb", tmp_path, sensor, sync=sync)
    return open_device(config, ManualClock(), MemoryStore(), transport=RecordingTransport())


def recorder(loop: DeviceLoop) -> RecordingTransport:
    assert isinstance(loop.transport, RecordingTransport)
    return loop.transport


def test_a_refused_message_is_noted_once_per_connection(loop: DeviceLoop) -> None:
    refused = Delivered(3, "Not authorized (135)", True, topic("plant", "wrist-1", Kind.EVENT))
    loop.handle(Connected(True))
    for _ in range(5):
        loop.handle(refused)  # the note is an event too, and would be refused in turn, for ever
    assert recorder(loop).event_names == ["publish-refused"]
    loop.handle(Connected(True))
    loop.handle(refused)
    assert len(recorder(loop).events) == 2


def test_the_aggregators_pace_is_kept(loop: DeviceLoop) -> None:
    agent, clock = loop.agent, loop._clock
    assert isinstance(clock, ManualClock)
    loop.handle(Connected(False))
    x, y = windows(4)
    agent.process(pipeline().features(x), y)
    assert [send.kind for send in agent.due(clock.now_s, True)] == [Kind.METRICS, Kind.STATISTICS]
    ack = Ack(agent.sync_state.epoch, agent.sync_state.counter, 0, pace_s=60.0)
    loop.handle(Received(topic("plant", "wrist-1", Kind.ACK), ack.encode()))
    agent.process(pipeline().features(x), y)
    for waited_s, quiet in ((1.5, True), (59.0, True), (60.5, False)):
        assert (agent.due(clock.now_s + waited_s, True) == []) is quiet


def test_the_aggregators_pace_is_kept_by_updates_too(tmp_path: Path) -> None:
    sensor = SensorSettings(tmp_path / "spool", tmp_path / "predictions")
    learner = LearnerSettings(kind="gradient", update_labels=2)
    config = AgentConfig("wrist-1", "plant", tmp_path / "model.hwb", tmp_path, sensor, learner)
    store, clock = MemoryStore(), ManualClock()
    loop = open_device(config, clock, store, transport=RecordingTransport())
    agent = loop.agent
    loop.handle(Connected(False))

    def updates_after(waited_s: float) -> list[int]:
        x, y = windows(2)
        agent.process(pipeline().features(x), y)
        store.commit(agent.changes())
        clock.now_s += waited_s
        recorder(loop).sent.clear()
        loop.turn()
        sent = [m for m in recorder(loop).sent if parse_topic(m.topic).kind is Kind.UPDATE]
        return [Update.decode(message.payload).sequence for message in sent]

    assert updates_after(0.0) == [1]
    ack = Ack(agent.sync_state.epoch, 0, 1, pace_s=60.0)
    loop.handle(Received(topic("plant", "wrist-1", Kind.ACK), ack.encode()))
    assert updates_after(59.0) == []
    assert updates_after(1.0) == [2, 3]


def test_delivered_messages_are_no_news(loop: DeviceLoop) -> None:
    loop.handle(Connected(True))
    loop.handle(Delivered(3, "Success", False))
    assert recorder(loop).events == []


def test_a_refused_subscription_is_noted(loop: DeviceLoop) -> None:
    loop.handle(Connected(True))
    loop.handle(NotSubscribed("headway/v1/plant/_all/head", "Not authorized (135)"))
    event = recorder(loop).events[0]
    assert event.name == "subscribe-refused"
    assert "the subscription to headway/v1/plant/_all/head: Not authorized (135)" in str(event.detail["problem"])


def test_a_broker_that_needed_a_person_is_told_once_it_is_over_and_no_problem_any_more(
    loop: DeviceLoop, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        loop.handle(Disconnected("broker:1883: refused: Banned (138)", Response.PERSON))
    assert [record.message for record in caplog.records] == ["offline: broker:1883: refused: Banned (138)"]
    assert loop.condition_in_full.standings["link"].state == "offline"
    loop.handle(Connected(False))
    reports = [m for m in recorder(loop).sent if parse_topic(m.topic).kind is Kind.REPORTED]
    assert Reported.decode(reports[-1].payload).problem == ""
    cleared = recorder(loop).events[0]
    assert (cleared.name, cleared.detail["kind"]) == ("problem-cleared", "link")
    assert "Banned (138)" in str(cleared.detail["problem"])
