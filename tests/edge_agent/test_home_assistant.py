"""A device in Home Assistant: what announces it, what it says, which window it asks for, and how it leaves again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.answer_settings import AnswerSettings
from edge_agent.config import AgentConfig
from edge_agent.home_assistant import leave
from edge_agent.home_assistant.announced import FILE, Announced
from edge_agent.home_assistant.asked_window import AGE_S_MAX, AskedWindowView
from edge_agent.home_assistant.discovery import Described, discovery_payload, discovery_topic
from headway.errors import ConfigError, StoreError, TransportError
from headway.maths import Task
from headway.mqtt import MqttSettings
from headway.ports import Connected, Delivered, Disconnected, Outgoing, Received, TransportEvent
from headway.wire import Event, GivenLabel, GivenLabels, Kind, WindowAnswer, topic
from tests.device import Device, ManualClock
from tests.edge_agent.variants import windows
from tests.home_assistant import CHECK, TOPIC

DISCOVERY = "homeassistant/device/test/pump/config"
SUMMARY, LABELS = topic("test", "pump", Kind.SUMMARY), topic("test", "pump", Kind.LABELS)
ALL = AnswerSettings(home_assistant=True, mqtt_labels=True)


class AtHome(Device):
    """A device of a home; the broker answers every message at once."""

    def __init__(self, folder: Path, answers: AnswerSettings = ALL) -> None:
        self.answers_settings = answers
        super().__init__(folder)

    def boot(self) -> None:
        self.config = replace(self.config, answers=self.answers_settings, mqtt=MqttSettings("broker"))
        super().boot()
        self.loop.handle(Connected(False))

    def turn(self, seconds: float = 1.0) -> None:
        before = len(self.wire.sent)
        super().turn(seconds)
        for token in range(before + 1, len(self.wire.sent) + 1):
            self.loop.handle(Delivered(token, "", False))

    def see(self, name: str, count: int = 4, seed: int = 1) -> None:
        x, _ = windows(count, drift=0.8, seed=seed)
        share = np.linspace(0.2, 0.5, count, dtype=np.float32)[:, None]
        x = (1 - share) * x + share * np.roll(x, 1, axis=0)  # none is certain
        np.savez(self.folder / ".part.npz", x=x, id=np.array([f"{name}-{row}" for row in range(count)]))
        (self.folder / ".part.npz").rename(self.folder / "spool" / f"{name}.npz")
        self.turn()
        self.turn()

    def published(self, name: str) -> list[bytes]:
        return [message.payload for message in self.wire.sent if message.topic == name]

    @property
    def summary(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.published(SUMMARY)[-1])
        return found

    @property
    def wanted(self) -> str:
        wanted = self.summary["wanted"]
        return str(wanted["id"]) if isinstance(wanted, dict) else ""

    def say(self, window_id: str, label: str) -> None:
        self.loop.handle(Received(LABELS, GivenLabels((GivenLabel(window_id, label),)).encode()))
        self.turn()
        self.turn()


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("teachable", [True, False])
def test_what_announces_a_device_is_what_home_assistant_documents(task: Task, teachable: bool) -> None:
    names = ("idle", "{{ 7 * 7 }}", 'say "a"', "<script>", "naïve", "x" * 256)
    announced = json.loads(
        discovery_payload(Described("plant", "pump-7", task, names, "walk", "1.2", "0.9", teachable))
    )
    assert [error.message for error in CHECK.iter_errors(announced)] == []
    assert {each["qos"] for each in announced["components"].values()} == {1}, "it is not one of what they share"
    keys = {key for key, each in announced["components"].items() if each["platform"] in ("select", "button")}
    asks = teachable and task is Task.CLASSIFICATION
    assert keys == ({"wanted", "as-predicted", "skip", "undo"} if asks else set())
    templates = [
        value for each in announced["components"].values() for key, value in each.items() if key.endswith("template")
    ]
    assert templates
    assert not any(name in template for name in names[1:] for template in templates)


def test_every_device_has_a_topic_of_its_own_in_the_letters_of_home_assistant() -> None:
    names = ["pump", "pump-7", "pump_7", "pump.7", "pump_2e7", "pump_5f2e7", "pump_5f7", "pump._7", "pump_.7", "a.b.c"]
    topics = {discovery_topic("homeassistant", "plant", name) for name in names}
    assert len(topics) == len(names)
    assert all(TOPIC.fullmatch(each.removeprefix("homeassistant/")) for each in topics)
    # a broker's access list can say %u, but for names with a dot
    assert discovery_topic("homeassistant", "plant", "pump_7-a") == "homeassistant/device/plant/pump_7-a/config"
    assert len({discovery_topic("homeassistant", fleet, "b") for fleet in ("a", "a.b", "a_b")}) == 3


def test_the_summary_says_prediction_accuracy_and_drift_at_most_once_a_second(tmp_path: Path) -> None:
    device = AtHome(tmp_path)
    device.turn()
    assert device.published(SUMMARY) == []
    device.see("a", 6)
    summary = device.summary
    assert summary["prediction"] in device.loop.agent.learner.classes
    assert (summary["accuracy"], summary["drift"], summary["labels"]) == (None, False, 0)
    before = len(device.published(SUMMARY))
    for seed in range(20):
        x, _ = windows(1, seed=seed)
        np.savez(tmp_path / "spool" / f"s{seed}.npz", x=x)
        device.turn(0.1)
    assert 1 <= len(device.published(SUMMARY)) - before <= 3
    device.say("a-0", "walk")
    assert (device.summary["labels"], device.summary["labelled"]) == (1, "a-0")
    assert device.summary["accuracy"] in (0.0, 1.0)
    sent = [message for message in device.wire.sent if message.topic in (SUMMARY, DISCOVERY)]
    assert {(message.qos, message.retain) for message in sent} == {(1, True)}


def test_a_summary_waits_until_the_broker_has_taken_the_one_before(tmp_path: Path) -> None:
    device = AtHome(tmp_path)
    device.see("a")
    for seed in range(3):
        device.drop(f"b{seed}", 2, seed)
        Device.turn(device)
    before = len(device.published(SUMMARY))
    for seed in range(3, 9):
        device.drop(f"b{seed}", 2, seed)
        Device.turn(device)
    assert len(device.published(SUMMARY)) == before
    device.loop.handle(Connected(False))
    device.turn()
    assert len(device.published(SUMMARY)) == before + 1


def test_drift_is_shown_for_a_day_also_after_a_restart(tmp_path: Path) -> None:
    device = AtHome(tmp_path)
    device.see("a")
    device.loop.agent.event_log._note("drift", {"by": "error", "before": 0.1, "after": 0.5}, device.clock.wall)
    device.turn()
    assert device.summary["drift"] is True
    device.loop.store.commit(device.loop.agent.checkpoint(), 0.0)
    device.boot()
    device.see("b", seed=2)
    assert device.summary["drift"] is True
    device.clock.wall += 86_400.0
    device.turn()
    assert device.summary["drift"] is False


def test_the_least_certain_window_is_asked_for_until_it_is_labelled_or_skipped(tmp_path: Path) -> None:
    device = AtHome(tmp_path)
    device.see("a")
    first = device.wanted
    margins = {name: np.diff(np.sort(window.probability[0])[-2:])[0] for name, window in remembered(device).items()}
    assert first == min(margins, key=lambda name: margins[name])
    device.see("b", 30, seed=2)
    assert device.wanted == first  # also where another one is less certain by now
    device.say(first, "walk")
    second = device.wanted
    assert second not in ("", first)
    device.say(second, "")
    assert device.wanted not in ("", first, second)
    assert device.loop.agent.learner.labels == 1
    device.say(first, "")
    assert device.summary["labelled"] == ""
    assert device.wanted not in ("", first, second)


def test_home_assistant_the_list_and_the_command_ask_about_the_same_windows(tmp_path: Path) -> None:
    device = AtHome(tmp_path)
    device.see("a", 12)

    def listed() -> list[str]:
        message = device.loop.agent.labelling.wanted.message()
        assert message is not None
        return [window.id for window in message.windows]

    def asked() -> list[str]:
        return device.loop.agent.event_log.ask(device.clock.wall, 12)

    assert device.wanted == listed()[0] == asked()[0]
    assert listed() == asked()
    skipped = device.wanted
    device.say(skipped, "")
    assert skipped not in listed(), "who skips it in Home Assistant is not asked in the inbox"
    assert device.wanted == listed()[0]
    device.loop.agent.labelling.wanted.dismiss(device.wanted)
    device.turn()
    assert device.wanted == listed()[0] == asked()[0], "nor the other way round"


def events(device: AtHome) -> list[Event]:
    return [Event.decode(payload) for payload in device.published(topic("test", "pump", Kind.EVENT))]


def remembered(device: Device) -> dict[str, object]:
    return dict(device.loop.agent.windows.without_label())  # type: ignore[arg-type]


def test_a_window_of_an_hour_ago_is_asked_for_no_more() -> None:
    wanted = AskedWindowView(lambda: ["old", "new"])
    for window_id, wall_s, probability in (("old", 0.0, 0.4), ("new", AGE_S_MAX - 1, 0.9)):
        outputs = {"idle": probability}
        wanted.add(
            WindowAnswer(window_id, "f", 1, 1, wall_s, "classification", "idle", (), outputs, "frozen", 1, "b", "1", 1)
        )
    now = [wanted.now(wall_s) for wall_s in (AGE_S_MAX - 1, AGE_S_MAX, 2 * AGE_S_MAX)]
    assert [each and each.id for each in now] == ["old", "new", None]


def test_new_classes_are_announced_and_removed_ones_are_not_offered(tmp_path: Path) -> None:
    device = AtHome(tmp_path)
    device.turn()
    device.loop.agent.add_class("{{ jump }}")
    device.turn()
    options = [json.loads(each)["components"]["wanted"]["options"] for each in device.published(DISCOVERY)]
    assert [("{{ jump }}" in each) for each in options] == [False, True]


def test_without_labels_from_the_broker_nothing_can_be_chosen(tmp_path: Path) -> None:
    device = AtHome(tmp_path, AnswerSettings(home_assistant=True))
    device.see("a")
    assert device.summary["wanted"] is None
    assert "wanted" not in json.loads(device.published(DISCOVERY)[0])["components"]


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        (AnswerSettings(), {DISCOVERY, SUMMARY}),
        (AnswerSettings(home_assistant=True, home_assistant_prefix="home/two"), {DISCOVERY}),
    ],
    ids=["off", "another prefix"],
)
def test_what_is_retained_no_more_is_taken_back_once_the_broker_takes_it(
    tmp_path: Path, answers: AnswerSettings, left: set[str]
) -> None:
    device = AtHome(tmp_path)
    device.see("a")
    assert set(Announced(device.state).topics) == {DISCOVERY, SUMMARY}
    device.answers_settings = answers
    device.boot()
    Device.turn(device)
    cleared = [(number, each) for number, each in enumerate(device.wire.sent, 1) if not each.payload]
    assert {each.topic for _, each in cleared} == left
    assert all(each.retain for _, each in cleared)
    for token, _ in cleared:
        device.loop.handle(Delivered(token, "Not authorized", True))
    assert left <= set(Announced(device.state).topics)
    device.loop.handle(Connected(False))
    device.turn()
    assert not left & set(Announced(device.state).topics) - {SUMMARY}
    assert (device.state / FILE).exists() == answers.home_assistant


def test_a_note_that_is_damaged_is_told_and_the_device_goes_on(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_bytes(b"{")
    device = AtHome(tmp_path)
    device.see("a")
    assert device.published(DISCOVERY) == []
    assert [event.name for event in events(device)].count("home-assistant") == 1
    assert device.answers() == {"a"}


def test_a_prefix_that_is_no_topic_and_a_device_without_broker_are_refused(tmp_path: Path) -> None:
    for prefix in ("", "a//b", "home/#", "+", "/home"):
        with pytest.raises(ConfigError, match="home_assistant_prefix .* is no topic; give levels"):
            AnswerSettings(home_assistant_prefix=prefix)
    with pytest.raises(ConfigError, match=r"asks for mqtt, but there is no \[mqtt\] table"):
        AgentConfig("pump", "test", tmp_path / "m.hwb", tmp_path, answers=AnswerSettings(home_assistant=True))


class ScriptedTransport:
    """Says at once what a broker would. refuses: topics that its access list keeps."""

    def __init__(self, put: object, refuses: tuple[str, ...], reachable: bool) -> None:
        self._put, self._refuses, self._reachable = put, refuses, reachable
        self.sent: list[Outgoing] = []

    def start(self) -> None:
        self._say(Connected(False) if self._reachable else Disconnected("connection refused"))

    def publish(self, message: Outgoing) -> int:
        self.sent.append(message)
        refused = message.topic in self._refuses
        self._say(Delivered(len(self.sent), "Not authorized" if refused else "", refused, message.topic))
        return len(self.sent)

    def stop(self) -> None:
        return

    def _say(self, event: TransportEvent) -> None:
        self._put(event)  # type: ignore[operator]


class QuickClock(ManualClock):
    """Looks go by, so that nobody waits for the deadline."""

    def monotonic_s(self) -> float:
        self.now_s += 8.0
        return self.now_s


@pytest.mark.parametrize(
    ("refuses", "reachable", "problem"),
    [
        ((), True, ""),
        ((SUMMARY,), True, rf"still retains {SUMMARY} \({SUMMARY}: Not authorized\)"),
        ((), False, r"config, .*summary \(connection refused\); clear each: mosquitto_pub -r -n -t TOPIC"),
    ],
    ids=["all goes", "one is refused", "no broker"],
)
def test_a_device_leaves_and_says_what_is_left(
    tmp_path: Path, refuses: tuple[str, ...], reachable: bool, problem: str
) -> None:
    Announced(tmp_path).add((DISCOVERY, SUMMARY))
    config = AgentConfig("pump", "test", tmp_path / "m.hwb", tmp_path, mqtt=MqttSettings("broker"))

    def build(settings: MqttSettings, client: str, topics: object, will: Outgoing, put: object) -> ScriptedTransport:
        assert settings.session_expiry_s == 0
        assert client != "test.pump"
        return ScriptedTransport(put, refuses, reachable)

    if problem:
        with pytest.raises(TransportError, match=problem):
            leave(config, QuickClock(), build)
    else:
        assert leave(config, QuickClock(), build) == (DISCOVERY, SUMMARY)
        assert leave(config, QuickClock(), build) == ()
    left = set(refuses) if reachable else {DISCOVERY, SUMMARY}
    assert set(Announced(tmp_path).topics) == left


def test_a_disk_that_refuses_the_note_announces_nothing(tmp_path: Path) -> None:
    announced = Announced(tmp_path / "missing")
    with pytest.raises(StoreError, match="cannot write"):
        announced.add((DISCOVERY,))
    assert announced.topics == ()
