"""What holds now and since when: problems begin, are told, and are over."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.commands.status import read_status, status_text
from edge_agent.condition import (
    CONDITION_BYTES,
    CONDITION_FILE_BYTES,
    DISK,
    LEARNING,
    LINK,
    REJECTED,
    ConditionWatch,
    DeviceCondition,
    moment,
)
from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.daemon import Daemon, write_condition
from edge_agent.learner_settings import PolicySettings
from edge_agent.startup import active_bundle
from headway.errors import StoreError
from headway.fields import readable_json
from headway.mqtt import MqttSettings
from headway.ports import Connected, Disconnected, NotSubscribed, Response, SystemClock
from headway.wire import Kind, Reported
from tests.device import Device, ManualClock
from tests.edge_agent.variants import IdentityRuntime, variant, windows

ENDED = list[tuple[str, str, float]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ended() -> ENDED:
    return []


@pytest.fixture
def watch(clock: ManualClock, ended: ENDED) -> ConditionWatch:
    return ConditionWatch(clock.monotonic_s, lambda *told: ended.append(told), networked=True)


def strict(text: str) -> object:
    """JSON as other languages read it."""

    def refuse(name: str) -> object:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_an_outage_keeps_its_beginning_while_its_reason_changes(
    watch: ConditionWatch, clock: ManualClock, ended: ENDED
) -> None:
    watch.stand(LINK, "offline", "refused")
    clock.now_s += 30
    watch.stand(LINK, "offline", "wrong password", is_problem=True)
    held = watch.now("").standings[LINK]
    assert (held.since_s, held.detail, held.is_problem) == (100.0, "wrong password", True)
    clock.now_s += 30
    watch.stand(LINK, "connected")
    assert ended == [(LINK, "wrong password", 60.0)]
    assert watch.now("").standings[LINK].since_s == 160.0


def test_a_problem_is_over_when_it_was_quiet_for_an_hour(
    watch: ConditionWatch, clock: ManualClock, ended: ENDED
) -> None:
    watch.happened(REJECTED, "a.npz: no array")
    clock.now_s += 3000
    watch.happened(REJECTED, "b.npz: no array")
    clock.now_s += 3000
    assert watch.turn() == []
    [problem] = watch.now("").problems
    assert (problem.text, problem.count, problem.since_s) == ("b.npz: no array", 2, 100.0)
    clock.now_s += 600
    watch.turn()
    assert watch.now("").problems == ()
    assert ended == [(REJECTED, "b.npz: no array", 3000.0)]
    refusals = watch.now("").refusals
    assert (refusals.count, refusals.reason, refusals.last_s) == (2, "b.npz: no array", 3100.0), "these stay"


def test_a_problem_without_an_end_is_over_when_it_does_not_come_again(
    watch: ConditionWatch, clock: ManualClock, ended: ENDED
) -> None:
    watch.happened("subscribe-refused", "no", quiet_s=math.inf)
    clock.now_s += 1e6
    watch.turn()
    assert len(watch.now("").problems) == 1
    watch.over("subscribe-refused", after_s=60)
    watch.happened("subscribe-refused", "no", quiet_s=math.inf)
    clock.now_s += 61
    watch.turn()
    assert len(watch.now("").problems) == 1, "it came again"
    watch.over("subscribe-refused", after_s=60)
    clock.now_s += 61
    watch.turn()
    assert [kind for kind, _, _ in ended] == ["subscribe-refused"]


def test_very_many_of_a_kind_are_told_together(watch: ConditionWatch, clock: ManualClock) -> None:
    told = [watch.happened(REJECTED, f"{number}.npz") for number in range(1000)]
    assert sum(told) == 10
    assert watch.happened("labels-unknown", "x"), "another kind is told"
    assert watch.turn() == []
    clock.now_s += 60
    assert watch.turn() == [(REJECTED, "990 times more in 60 s")]
    assert watch.happened(REJECTED, "later.npz")


def test_a_moment_is_right_once_the_clock_is_set() -> None:
    assert moment(100.0, 160.0, 25.0) == "60 s ago (the clock is not set)"
    assert moment(100.0, 160.0, 1_800_000_060.0) == "2027-01-15T08:00:00Z"
    assert moment(200.0, 160.0, 1_800_000_000.0) == "2027-01-15T08:00:00Z", "never in the future"


def test_a_condition_comes_back_from_its_file_whatever_the_texts_hold(watch: ConditionWatch) -> None:
    watch.stand(DISK, "degraded", "\N{OGHAM LETTER RUIS}" * 900, is_problem=True)
    for number in range(30):
        watch.happened(f"kind-{number}", "\0\n\N{OGHAM LETTER RUIS}" * 300)
    condition = watch.now("line")
    payload = condition.encode(CONDITION_FILE_BYTES - CONDITION_BYTES)
    assert len(payload) <= CONDITION_FILE_BYTES - CONDITION_BYTES
    again = DeviceCondition.decode("line", payload)
    assert again.standings[DISK].state == "degraded"
    assert again.problems[-1].kind == "kind-29", "the newest are kept"
    with pytest.raises(StoreError):
        DeviceCondition.decode("line", payload[:-9])


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    variant().write(tmp_path / "model.hwb")
    sensor = SensorSettings(tmp_path / "spool", tmp_path / "predictions")
    return AgentConfig("pump", "plant", tmp_path / "model.hwb", tmp_path / "state", sensor)


def test_status_shows_what_holds_and_since_when_and_is_json(
    config: AgentConfig, watch: ConditionWatch, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active_bundle, "open_runtime", lambda variant, clock: IdentityRuntime())
    daemon = Daemon(config, clock)
    watch.stand(LINK, "offline", "broker:1883: refused", is_problem=True)
    watch.happened(REJECTED, "a.npz: no array")
    condition = watch.now("good: frozen serves")
    write_condition(daemon._lock, condition.line, condition.encode(3600))
    clock.now_s += 60
    status = read_status(config, clock)
    assert status["condition"] == "good: frozen serves"
    since = "2027-01-15T07:59:00Z"
    assert status[LINK] == {"state": "offline", "since": since, "detail": "broker:1883: refused"}
    assert status["rejected"] == {"files": 1, "last": since, "reason": "a.npz: no array"}
    assert status["problems"][0]["kind"] == REJECTED  # type: ignore[index]
    assert strict(readable_json(status))["served"]["accuracy"] is None  # type: ignore[index]
    assert "state offline, since 2027-01-15T07:59:00Z, detail broker:1883: refused" in status_text(status)
    daemon._loop.store.current.close()


def test_a_device_reports_what_is_wrong_and_that_it_is_over(tmp_path: Path) -> None:
    device = Device(tmp_path)

    def problem() -> str:
        return Reported.decode(device.wire.of(Kind.REPORTED)[-1]).problem

    device.loop.handle(Connected(session_present=False))
    assert problem() == ""
    np.savez(tmp_path / "spool" / "bad.npz", labels=np.arange(3))
    device.turn()
    assert problem().startswith("input-rejected since 2027-01-15T08:00:00Z: bad.npz holds ")
    reports = len(device.wire.of(Kind.REPORTED))
    device.turn()
    assert len(device.wire.of(Kind.REPORTED)) == reports, "nothing new, nothing sent"
    device.clock.wall += 3700
    device.turn(3700)
    assert problem() == ""
    cleared = device.wire.events[-1]
    assert (cleared.name, cleared.detail["kind"]) == ("problem-cleared", "input-rejected")


def test_a_subscription_that_is_taken_again_is_no_problem_any_more(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.loop.handle(Connected(session_present=False))
    device.loop.handle(NotSubscribed("t", "Not authorized (135)"))
    device.turn(7200)
    assert "subscribe-refused" in device.loop.condition_in_full.words(0.0, 1.8e9)
    device.loop.handle(Disconnected("gone"))
    device.loop.handle(Connected(session_present=True))
    device.turn(61)
    assert device.loop.condition_in_full.problems == ()


def test_a_taken_over_session_is_an_event_of_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path)
    device.loop.handle(Connected(session_present=False))
    publish = device.wire.publish
    monkeypatch.setattr(device.wire, "publish", lambda message: None)
    device.loop.handle(Disconnected("Session taken over (142); another client", Response.PERSON, 142))
    monkeypatch.setattr(device.wire, "publish", publish)
    device.clock.wall += 60
    device.clock.now_s += 60
    device.loop.handle(Connected(session_present=True))
    events = {event.name: event for event in device.wire.events}
    assert events["session-taken-over"].wall_s == 1.8e9, "when it happened, not when it was sent"
    assert events["problem-cleared"].detail["lasted_s"] == 60
    assert "session-taken-over since" in Reported.decode(device.wire.of(Kind.REPORTED)[-1]).problem


def test_learning_that_has_to_wait_shows_why_and_since_when(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.turn()
    assert device.loop.condition_in_full.standings[LEARNING].state == "on"
    device.config = replace(device.config, policy=PolicySettings(trigger="interval", every_s=600.0))
    device.boot()
    device.drop("a", 12, 0)
    device.turn()
    began_s = device.clock.now_s
    device.turn(60)
    held = device.loop.condition_in_full.standings[LEARNING]
    assert (held.state, held.since_s) == ("paused", began_s)
    assert "12 labels wait: the next time is in" in held.detail
    device.turn(600)
    device.turn()
    assert device.loop.condition_in_full.standings[LEARNING].state == "on"


@pytest.mark.parametrize("trouble", ["password", "authority", "certificate"])
def test_an_agent_whose_secrets_are_missing_works_offline_and_says_so(
    config: AgentConfig, trouble: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(active_bundle, "open_runtime", lambda variant, clock: IdentityRuntime())
    monkeypatch.setattr("edge_agent.daemon.ONCE_ACK_WAIT_S", 1.0)  # the connection is tried by then, on a busy machine
    none = config.state_dir / "none"
    broken = {
        "password": MqttSettings(username="u", password_file=none),
        "authority": MqttSettings(tls=True, ca_file=none),
        "certificate": MqttSettings(tls=True, cert_file=none, key_file=none),
    }
    folder = config.bundle.parent
    sensor = SensorSettings(folder / "spool", folder / "predictions", poll_interval_s=0.01)
    daemon = Daemon(replace(config, mqtt=broken[trouble], sensor=sensor), SystemClock())
    x, y = windows(6)
    np.savez(folder / "spool" / "a.npz", x=x, y=y)
    assert not daemon.run(once=True)
    assert (folder / "predictions" / "a.npz").exists()
    assert daemon._agent.learner.labels == 6
    assert caplog.text.count(f"{none}") == 1 + (trouble == "certificate"), "one line, which names the file"
