"""Answers in words: each is given once to every sink, whatever is repeated, and no sink holds the device up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.answer_settings import AnswerSettings
from edge_agent.answers import Given, JsonlFile, MqttAnswers
from edge_agent.answers.mqtt import UNCONFIRMED_MAX
from edge_agent.answers.smoothing import Hysteresis, Majority, MinimumDuration
from edge_agent.config import read_config
from headway.errors import ConfigError, RemoteError
from headway.mqtt import MqttSettings
from headway.ports import Connected, Delivered
from headway.wire.answers import GivenLabel, GivenLabels, WindowAnswer
from headway.wire.topics import Kind, device_subscriptions
from tests.device import Device
from tests.edge_agent.variants import CLASSES, windows


class Speaking(Device):
    """A device whose answers go to a file and to the broker."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.answers_file = folder / "answers.jsonl"
        self.settings = AnswerSettings(mqtt=True, file=self.answers_file, **settings)  # type: ignore[arg-type]
        super().__init__(folder)

    def boot(self) -> None:
        self.config = replace(self.config, answers=self.settings, mqtt=MqttSettings("broker"))
        super().boot()
        self.loop.handle(Connected(False))

    def lines(self) -> list[WindowAnswer]:
        return [WindowAnswer.decode(line) for line in self.answers_file.read_bytes().splitlines()]

    def put(self, name: str, **arrays: np.ndarray) -> None:
        np.savez(self.folder / f".{name}.npz", **arrays)  # type: ignore[arg-type]
        (self.folder / f".{name}.npz").rename(self.folder / "spool" / f"{name}.npz")


def given(sequence: int, row: int) -> Given:
    answer = WindowAnswer(
        "", "f", sequence, row, 0.0, "classification", "idle", (), {"idle": 1.0}, "frozen", 1, "b", "1", 1
    )
    return Given(answer, answer.encode())


def test_every_answer_names_class_head_and_window_in_a_line_and_a_message(tmp_path: Path) -> None:
    device = Speaking(tmp_path)
    x, y = windows(5)
    device.put("run", x=x, id=np.array([f"w-{row}" for row in range(5)]))
    device.turn()
    lines = device.lines()
    assert [(line.id, line.row, line.file) for line in lines] == [(f"w-{row}", row, "run.npz") for row in range(5)]
    assert [line.label for line in lines] == [CLASSES[label] for label in y]
    first = lines[0]
    assert (first.head, first.head_version, first.bundle, first.release) == ("frozen", 1, "walk", 1)
    assert first.wall_s == device.clock.wall
    assert sum(first.outputs.values()) == pytest.approx(1.0, abs=1e-5)
    assert max(first.outputs, key=lambda name: first.outputs[name]) == first.label
    assert [WindowAnswer.decode(payload) for payload in device.wire.of(Kind.ANSWERS)] == lines
    sent = [message for message in device.wire.sent if message.topic.endswith("/answers")]
    assert {(message.qos, message.retain) for message in sent} == {(1, False)}
    with np.load(tmp_path / "predictions" / "run.npz") as answer:
        assert [CLASSES[place] for place in answer["prediction"]] == [line.label for line in lines]


def test_a_learned_head_is_named_with_the_labels_it_knows(tmp_path: Path) -> None:
    device = Speaking(tmp_path)
    for seed in range(6):
        x, y = windows(30, drift=0.8, seed=seed)
        device.put(f"run-{seed}", x=x, y=y)
        device.turn()
    last = device.lines()[-1]
    assert (last.head, last.head_version) == (device.loop.agent.learner.serving, 150), "not of its own file"


def test_a_disk_that_refuses_and_is_back_gives_no_answer_twice(tmp_path: Path) -> None:
    device = Speaking(tmp_path)
    device.connection.execute("PRAGMA max_page_count = 1")
    device.drop("a", 30, seed=1)
    device.turn()
    device.drop("b", 30, seed=2)
    device.turn()
    assert device.loop.store.degraded
    device.connection.execute("PRAGMA max_page_count = 1000000")
    device.turn(60.0)
    device.turn(60.0)
    assert not device.loop.store.degraded
    assert device.claimed() == 0
    places = [(line.sequence, line.row) for line in device.lines()]
    assert places == [(file, row) for file in (1, 2) for row in range(30)]


def test_the_file_is_taken_up_where_a_killed_process_left_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first = JsonlFile(path, 1 << 20, 2)
    first.take([given(3, 0), given(3, 1)], again=False)
    with path.open("ab") as file:
        file.write(b'{"half')
    second = JsonlFile(path, 1 << 20, 2)
    second.take([given(3, 1), given(3, 2)], again=True)
    # a number that a restored database uses again is of another file
    second.take([given(2, 0)], again=False)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["sequence"], row["row"]) for row in rows] == [(3, 0), (3, 1), (3, 2), (2, 0)]


def test_the_file_is_renamed_when_it_has_grown_and_the_oldest_goes(tmp_path: Path) -> None:
    path, line = tmp_path / "answers.jsonl", len(given(1, 10).payload) + 1
    sink = JsonlFile(path, 4 * line, 2)
    for row in range(10, 24):
        sink.take([given(1, row)], again=False)
    found = {
        file.name: [json.loads(one)["row"] for one in file.read_text().splitlines()] for file in tmp_path.iterdir()
    }
    assert found == {
        "answers.jsonl": [22, 23],
        "answers.jsonl.1": [18, 19, 20, 21],
        "answers.jsonl.2": [14, 15, 16, 17],
    }
    path.unlink()
    sink.take([given(1, 24)], again=False)
    assert len(path.read_text().splitlines()) == 1


def test_a_file_that_cannot_be_written_is_counted_told_and_tried_again(tmp_path: Path) -> None:
    device = Speaking(tmp_path)
    device.answers_file.mkdir()
    device.drop("a", 6, seed=1)
    device.turn()
    assert device.answers() == {"a"}
    event = next(event for event in device.wire.events if event.name == "answers-dropped")
    assert str(event.detail["problem"]).startswith(f"6 answers dropped so far: cannot write {device.answers_file}")
    device.answers_file.rmdir()
    device.drop("b", 6, seed=2)
    device.turn()
    assert len(device.lines()) == 6


def test_the_broker_is_given_some_at_a_time_and_the_oldest_are_dropped(tmp_path: Path) -> None:
    device = Speaking(tmp_path, queue_max=20)
    device.drop("a", 60, seed=1)
    device.turn()
    sent = device.wire.of(Kind.ANSWERS)
    assert len(sent) == UNCONFIRMED_MAX
    assert "answers-dropped" in device.wire.event_names
    for token in range(1, len(device.wire.sent) + 1):
        device.loop.handle(Delivered(token, "Success", False))
    device.loop.turn()
    rows = [WindowAnswer.decode(payload).row for payload in device.wire.of(Kind.ANSWERS)]
    assert rows == [*range(16), *range(40, 56)]
    assert len(device.lines()) == 60


def test_without_a_connection_the_newest_wait() -> None:
    sent: list[bytes] = []
    online = False
    sink = MqttAnswers(lambda payload: sent.append(payload) or len(sent) if online else None, 3, confirmed=False)
    sink.take([given(1, row) for row in range(5)], again=False)
    assert (sent, sink.dropped) == ([], 2)
    online = True
    sink.turn()
    assert [json.loads(payload)["row"] for payload in sent] == [2, 3, 4]


def test_smoothing_is_beside_the_answer_and_changes_nothing_that_is_learned(tmp_path: Path) -> None:
    plain = Speaking(tmp_path / "a")
    smooth = Speaking(tmp_path / "b", smoothing="majority", smoothing_windows=3)
    for device in (plain, smooth):
        device.drop("run", 30, seed=1)
        device.turn()
    assert plain.tables == smooth.tables
    assert [line.label for line in plain.lines()] == [line.label for line in smooth.lines()]
    assert {line.smoothed for line in plain.lines()} == {""}
    expected = Majority(3)
    assert [line.smoothed for line in smooth.lines()] == [expected.next(line.label, {}) for line in smooth.lines()]


def test_what_each_smoothing_makes_of_a_stream() -> None:
    stream = "aabaabbbba"

    def of(smoothing: Majority | MinimumDuration) -> str:
        return "".join(smoothing.next(label, {}) for label in stream)

    assert of(Majority(3)) == "aaaaaabbbb"
    assert of(MinimumDuration(3)) == "aaaaaaabbb"
    hysteresis = Hysteresis(0.7, 0.4)
    sure = [("a", 0.6), ("b", 0.65), ("b", 0.75), ("a", 0.55), ("a", 0.65), ("a", 0.9)]
    assert "".join(hysteresis.next(label, {label: p, "ab"[label == "a"]: 1 - p}) for label, p in sure) == "aabbba"


def test_labels_are_read_strictly() -> None:
    assert GivenLabels.decode(b'{"id":"w","label":"walk"}').labels == (GivenLabel("w", "walk"),)
    wrong = {
        b'{"id":"","label":"walk"}': "empty id",
        b'{"id":"w"}': "lacks 'label'",
        b'{"id":"w","label":"walk","labell":1}': "did you mean 'label'",
        b'{"labels":[],"schema":1}': "a list of 1 to 1024",
        b'{"labels":[{"id":"w","label":"a"},{"id":"w","label":"b"}],"schema":1}': "twice",
        b'{"labels":[{"id":"w","label":"a"},{"id":"v","values":[1]}],"schema":1}': "give one kind",
        b'{"id":"w","values":["a"]}': "must be a number",
        b'{"id":"w","values":[]}': "1 to 4096 numbers",
        b"[]": "must be a table",
    }
    for payload, problem in wrong.items():
        with pytest.raises(RemoteError, match=problem):
            GivenLabels.decode(payload)


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="smoothing_leave"):
        AnswerSettings(smoothing_enter=0.4, smoothing_leave=0.5)
    file = tmp_path / "agent.toml"
    file.write_text(
        '[device]\nid = "a"\n[bundle]\npath = "b"\n[storage]\nstate_dir = "s"\n'
        '[answers]\nmqtt = true\nfile = "x.jsonl"\n'
    )
    with pytest.raises(ConfigError, match="no \\[mqtt\\] table"):
        read_config(file)
    file.write_text(file.read_text().replace("mqtt = true\n", ""))
    assert read_config(file).answers.file == tmp_path / "x.jsonl"


def test_a_device_listens_to_labels_only_where_it_takes_them() -> None:
    space = "5" * 64
    more = set(device_subscriptions("f", "d", space, labels=True)) - set(device_subscriptions("f", "d", space))
    assert {name.rpartition("/")[2] for name in more} == {"labels"}
