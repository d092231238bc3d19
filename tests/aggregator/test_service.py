"""The aggregator's loop and its connection, on fakes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aggregator.commands import serve
from aggregator.config import ServiceLimits, Settings
from aggregator.core import Aggregator
from aggregator.engine import Engine
from aggregator.policy import Policy
from aggregator.privacy_policy import PrivacyPolicy
from aggregator.readers import Readers
from aggregator.service import Service
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import PrivacySpentRow
from headway.errors import TransportError
from headway.ports import (
    Connected,
    Delivered,
    Disconnected,
    NotSubscribed,
    Outgoing,
    Received,
    Response,
    SystemClock,
    TransportEvent,
)
from headway.sd_notify import SystemdNotifier
from headway.stopping import STOP_SIGNALS, StopRequest
from headway.wire import Status
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import FLEET, model, statistics_message, tables
from tests.edge_agent.variants import variant


@dataclass
class ScriptedTransport:
    """Reports the given events as soon as it is started."""

    events: list[TransportEvent]
    on_event: Callable[[TransportEvent], None] = lambda event: None
    sent: list[Outgoing] = field(default_factory=list)
    stopped: bool = False

    def start(self) -> None:
        for event in self.events:
            self.on_event(event)

    def publish(self, message: Outgoing) -> int | None:
        self.sent.append(message)
        return len(self.sent)

    def stop(self) -> None:
        self.stopped = True


def service(
    *events: TransportEvent, policy: Policy | None = None, keep_spent: Callable[[PrivacySpentRow], object] = print
) -> tuple[Service, ScriptedTransport]:
    transport = ScriptedTransport(list(events))

    def connect(
        will: Outgoing, subscriptions: tuple[str, ...], on_event: Callable[[TransportEvent], None]
    ) -> ScriptedTransport:
        transport.on_event = on_event
        return transport

    store = MemoryStore()
    with store.transaction():
        core = Aggregator(FLEET, model(), policy or Policy(), store)
    made = Service(
        FLEET, core, store, connect, ServiceLimits(), SystemClock(), SystemdNotifier.from_environment(),
        keep_spent=keep_spent,
    )  # fmt: skip
    return made, transport


def test_a_broker_that_needs_a_person_ends_the_service_with_one_line() -> None:
    made, transport = service(
        Disconnected("b:1883: connection lost"), Disconnected("b:1883: Not authorized (135)", Response.PERSON)
    )
    with pytest.raises(TransportError, match=r"^b:1883: Not authorized \(135\)$"):
        made.run()
    assert transport.stopped


def test_an_aggregator_whose_session_is_taken_over_leaves_as_one_whom_the_broker_refuses_and_says_why() -> None:
    line = "b:1883: Session taken over (142); another client uses this id; give each machine its own"
    made, _ = service(Connected(False), Disconnected(line, Response.PERSON, 142))
    with pytest.raises(TransportError, match=r"own\. One aggregator serves a fleet: stop the other") as raised:
        made.run()
    assert raised.value.exit_code == 9


def test_what_a_head_with_noise_spends_is_kept_before_it_leaves() -> None:
    spent_after: list[int] = []
    report = statistics_message("a", 1, 1, tables(30, 1))
    heads_sent = lambda: [message for message in transport.sent if message.topic.endswith("/_all/head")]  # noqa: E731
    made, transport = service(
        Connected(False), Received("headway/v1/plant/_aggregator/status", Status(True, 1).encode()), report,
        policy=Policy(publish_interval_s=0.0, privacy=PrivacyPolicy(epsilon=1.0)),
        keep_spent=lambda row: spent_after.append(len(heads_sent())),
    )  # fmt: skip
    made.start()
    for _ in range(3):
        made.turn(0.0)
    assert len(heads_sent()) == 1
    assert spent_after == [0]


def test_only_a_connection_that_stands_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in ("connected", "disconnected", "again"):
        monkeypatch.setattr(Aggregator, name, lambda *_, name=name: called.append(name) or [])
    up, down = Connected(False), Disconnected("b:1883: connection lost")
    for events, expected in (((up,), "connected"), ((down, up), "connected"), ((up, down), "disconnected")):
        made, transport = service(*events)
        made.start()
        called.clear()
        made.turn(0.0)
        assert called == [expected]
    monkeypatch.setattr(transport, "publish", lambda message: None)
    made._apply(Outgoing("headway/v1/plant/_all/head", b"1", retain=True))  # the broker is gone: nothing is sent
    made.turn(0.0)
    assert called == ["disconnected", "again"]


def test_who_is_told_to_stop_does_not_start_again_with_another_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    made, transport = service(Connected(False))
    monkeypatch.setattr(Aggregator, "superseded", True)
    assert made.run(), "another bundle is to be served"
    made.stop()
    assert not made.run()
    assert transport.stopped


def test_a_sigterm_between_two_bundles_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant().write(tmp_path / "a.hwb")
    settings = Settings(fleet=FLEET, bundle=tmp_path / "a.hwb", state_dir=tmp_path / "state")
    serve_one, served = serve._serve_one_bundle, []

    def switch(settings: Settings, stop: StopRequest, engine: Engine, readers: Readers) -> bool:
        served.append(stop)
        if len(served) > 1:
            return serve_one(settings, stop, engine, readers)
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    monkeypatch.setattr(serve, "_serve_one_bundle", switch)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        assert serve.serve(settings) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(served) == 2


def test_a_refused_message_is_one_line_per_connection(caplog: pytest.LogCaptureFixture) -> None:
    refused = Delivered(1, "Not authorized (135)", True, "headway/v1/plant/a/ack")
    lost = NotSubscribed("headway/v1/plant/+/update", "Quota exceeded (151)")
    made, _ = service(Connected(False), refused, refused, lost, lost, Connected(True), refused)
    made.start()
    made.turn(0.0)
    lines = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert lines == [
        "the broker refused headway/v1/plant/a/ack: Not authorized (135)",
        "the broker refused the subscription to headway/v1/plant/+/update: Quota exceeded (151)",
        "the broker refused headway/v1/plant/a/ack: Not authorized (135)",
    ]


def test_a_clearing_is_repeated_until_the_broker_confirms_it() -> None:
    made, transport = service(Connected(False))
    name = topic(FLEET, "b", Kind.STATUS)
    with made._store.transaction():
        made._core._clearings.add("b", Kind.STATUS)
    made.start()
    made.turn(0.0)

    def cleared() -> list[int]:
        return [token for token, message in enumerate(transport.sent, 1) if not message.payload]

    (first,) = cleared()
    # the connection breaks; a confirmation of then says nothing of what is sent now
    transport.on_event(Connected(True))
    transport.on_event(Delivered(first, "Success", False))
    made.turn(0.0)
    first, second = cleared()
    with made._store.transaction():
        assert made._store.clearings() == [name]
    transport.on_event(Delivered(second, "Success", False))
    made.turn(0.0)
    with made._store.transaction():
        assert made._store.clearings() == []
    transport.on_event(Connected(True))
    made.turn(0.0)
    assert cleared() == [first, second]
