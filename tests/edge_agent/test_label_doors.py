"""Labels from every door are learned once, in turn; one that comes before its window waits; one taken back is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.answer_settings import AnswerSettings
from edge_agent.cli import main
from edge_agent.commands import give_label
from edge_agent.label_doors import LabelFiles
from edge_agent.labels.early_labels import EarlyLabels
from edge_agent.learner_settings import PolicySettings
from edge_agent.store import EARLY, Extent
from headway.errors import ConfigError, StoreError
from headway.maths import Task
from headway.mqtt import MqttSettings
from headway.ports import Connected, Received
from headway.samples import targets_of
from headway.wire.answers import GivenLabel, GivenLabels
from headway.wire.topics import Kind, topic
from tests.device import Device, ManualClock
from tests.edge_agent.variants import CLASSES, windows


class Labelled(Device):
    """A device that takes labels from the broker, too."""

    policy = PolicySettings()

    def boot(self) -> None:
        settings = AnswerSettings(mqtt_labels=True)
        self.config = replace(self.config, answers=settings, mqtt=MqttSettings("broker"), policy=self.policy)
        super().boot()
        self.loop.handle(Connected(False))

    def windows(self, name: str = "w", count: int = 12, seed: int = 1) -> list[str]:
        x, y = windows(count, drift=0.8, seed=seed)
        ids = [f"{name}-{row}" for row in range(count)]
        np.savez(self.folder / ".part.npz", x=x, id=np.array(ids))
        (self.folder / ".part.npz").rename(self.folder / "spool" / f"{name}.npz")
        self.truth = dict(zip(ids, (CLASSES[label] for label in y), strict=True))
        return ids

    def say(self, *labels: tuple[str, str]) -> None:
        self.say_payload(GivenLabels(tuple(GivenLabel(*label) for label in labels)).encode())

    def say_payload(self, payload: bytes) -> None:
        self.loop.handle(Received(topic("test", "pump", Kind.LABELS), payload))

    def learner_bytes(self) -> bytes:
        return self.loop.agent.learner.encode()

    @property
    def early(self) -> int:
        return len(self.loop.agent.labelling.early)


def test_a_label_over_the_broker_is_learned_corrected_and_taken_back(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    ids = device.windows()
    device.turn()
    before = device.tables
    device.say((ids[0], "walk"), (ids[1], "run"))
    device.turn()
    assert device.tables.counts.tolist() == [0, 1, 1]
    device.say((ids[0], "idle"))
    device.turn()
    assert device.tables.counts.tolist() == [1, 0, 1]
    device.say((ids[0], ""), (ids[1], ""))
    device.turn()
    assert device.tables == before
    assert np.array_equal(device.tables.gram, before.gram)


def test_a_label_before_its_window_waits_over_a_restart_and_teaches_the_same(tmp_path: Path) -> None:
    early, late = Labelled(tmp_path / "early"), Labelled(tmp_path / "late")
    y = windows(12, drift=0.8, seed=1)[1]
    labels = [(f"w-{row}", CLASSES[label]) for row, label in enumerate(y)]
    early.say(*labels)
    early.turn()
    assert early.early == 12
    assert "labels-unknown" in early.wire.event_names
    assert early.tables.samples == 0
    early.boot()
    assert early.early == 12
    early.windows()
    early.turn()
    late.windows()
    late.turn()
    late.say(*labels)
    late.turn()
    assert early.early == 0
    assert early.tables == late.tables
    assert early.tables.samples == 12
    # and once: neither another start nor the same label again adds to it
    early.boot()
    early.say(*labels)
    early.turn()
    assert early.tables == late.tables
    assert not any(name.startswith(EARLY) for name in early.loop.store.current.load())


def test_an_early_label_stays_with_its_class_when_that_gets_another_name(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    spool = tmp_path / "spool"
    np.savez(spool / "classes-1.npz", add_class=np.array(["swim"]))
    device.turn()
    device.say(("w-0", "walk"), ("w-1", "swim"))
    device.turn()
    assert device.early == 2
    np.savez(spool / "classes-2.npz", rename_class=np.array([["walk", "stroll"], ["swim", "dive"]]))
    device.turn()
    np.savez(spool / "classes-3.npz", add_class=np.array(["swim"]))  # a new one, which the label did not mean
    device.turn()
    device.boot()
    assert device.early == 2
    device.windows()
    device.turn()
    counts = dict(zip(device.loop.agent.learner.classes, device.tables.counts.tolist(), strict=True))
    assert counts == {"idle": 0, "stroll": 1, "run": 0, "dive": 1, "swim": 0}


def test_an_early_label_is_corrected_taken_back_and_gives_way_to_the_windows_own(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    device.say(("w-0", "run"), ("w-1", "run"), ("v-0", "run"))
    device.turn()
    device.say(("w-0", "walk"), ("w-1", ""))
    device.turn()
    assert device.early == 2
    device.windows()
    device.turn()
    assert device.tables.counts.tolist() == [0, 1, 0]
    x, _ = windows(1, seed=3)
    np.savez(tmp_path / ".v.npz", x=x, id=np.array(["v-0"]), y=np.array(["idle"]))
    (tmp_path / ".v.npz").rename(tmp_path / "spool" / "v.npz")
    device.turn()
    assert device.early == 0
    assert device.tables.counts.tolist() == [1, 1, 0]


def test_so_many_early_labels_wait_and_the_oldest_are_forgotten_aloud(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    device.policy = PolicySettings(early_labels_max=3)
    device.boot()
    device.say(*((f"w-{row}", "walk") for row in range(5)))
    device.turn()
    assert device.early == 3
    event = next(event for event in device.wire.events if event.name == "labels-forgotten")
    assert str(event.detail["problem"]).startswith("2 labels whose windows never came")
    device.windows()
    device.turn()
    assert device.tables.samples == 3


def test_early_labels_wait_where_windows_are_not_remembered_at_all(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    device.config = replace(device.config, learner=replace(device.config.learner, horizon_rows=1))
    device.boot()
    device.say(("w-0", "walk"), ("w-5", "run"))
    device.turn()
    device.windows()
    device.turn()
    assert device.tables.counts.tolist() == [0, 1, 1]


def test_early_labels_are_saved_and_restored_to_the_byte() -> None:
    first, second = EarlyLabels(10), EarlyLabels(10)
    first.add("a", 2)
    first.add("b", np.array([1.0, np.nan], np.float32))
    saved = first.take_changes(Extent.CHANGES).state
    assert first.take_changes(Extent.CHANGES).state == {}
    second.restore(saved)
    assert second.get("a") == 2
    np.testing.assert_array_equal(second.get("b"), np.array([1.0, np.nan], np.float32))
    assert second.take_changes(Extent.EVERYTHING).state == saved
    second.take("a")
    second.add("c", 1)
    after = second.take_changes(Extent.CHANGES)
    assert (len(after.state), after.dropped) == (1, (f"{EARLY}{0:012d}",))
    damaged = {name: payload[:-1] + b"\0" for name, payload in saved.items()}
    with pytest.raises(StoreError, match="early label"):
        EarlyLabels(10).restore(damaged)


def test_labels_over_the_broker_wait_for_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.label_doors.broker_labels.WAITING_MAX", 5)
    device = Labelled(tmp_path)
    ids = device.windows()
    device.turn()
    spool = tmp_path / "spool"
    spool.rename(tmp_path / "gone")
    for _ in range(5):
        device.say((ids[0], "walk"))
    assert "labels-wait" in device.wire.event_names
    assert "labels-lost" not in device.wire.event_names
    device.say((ids[1], "run"))
    assert "labels-lost" in device.wire.event_names
    (tmp_path / "gone").rename(spool)
    device.turn(0.0)
    device.turn()
    assert device.tables.counts.tolist() == [0, 1, 1]


def test_a_message_that_is_no_label_is_refused(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    device.loop.handle(Received(topic("test", "pump", Kind.LABELS), b'{"id":"w-0","class":"walk"}'))
    event = next(event for event in device.wire.events if event.name == "message-refused")
    assert "unknown key 'class'" in str(event.detail["problem"]) or "lacks 'label'" in str(event.detail["problem"])


def test_a_label_of_a_class_that_is_not_there_is_rejected_by_name(tmp_path: Path) -> None:
    device = Labelled(tmp_path)
    ids = device.windows()
    device.say((ids[0], "walkk"))
    device.turn()
    event = next(event for event in device.wire.events if event.name == "input-rejected")
    assert "did you mean 'walk'" in str(event.detail["problem"])


def test_the_command_labels_while_no_agent_runs_and_takes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Labelled(tmp_path)
    ids = device.windows()
    device.turn()
    file = tmp_path / "agent.toml"
    file.write_text(f'[device]\nid = "pump"\n[bundle]\npath = "b"\n[storage]\nstate_dir = "{device.state}"\n')
    device.loop.store.current.close()
    assert main(["label", ids[0], "walk", "--config", str(file)]) == 0
    assert main(["label", ids[1], "run", "--config", str(file)]) == 0
    assert main(["label", ids[1], "--undo", "--config", str(file)]) == 0
    assert capsys.readouterr().out.count("waits in the spool") == 3
    device.boot()
    device.turn()
    assert device.tables.counts.tolist() == [0, 1, 0]
    for words in ([], ["walk", "--undo"], ["--values", "1,x"]):
        assert main(["label", ids[0], *words, "--config", str(file)]) != 0
    assert main(["label", "", "walk", "--config", str(file)]) != 0


def test_files_of_labels_are_bounded_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Labelled(tmp_path)
    files, given = LabelFiles(device.config.sensor, ManualClock()), GivenLabels((GivenLabel("w", "walk"),))
    names = [files.write(given) for _ in range(3)]
    assert names == sorted(names)
    monkeypatch.setattr("edge_agent.label_doors.label_files.FILES_MAX", 3)
    with pytest.raises(StoreError, match="is the agent running"):
        files.write(given)
    nowhere = replace(device.config.sensor, spool_dir=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="check spool_dir"):
        give_label("w", "walk", "", False, settings=nowhere, clock=ManualClock())


def test_values_and_nothing_known_of_several_outputs() -> None:
    given = GivenLabels((GivenLabel("w", values=(1.0, None)),))
    assert GivenLabels.decode(given.encode()) == given
    nothing = targets_of(np.array(["", ""]), 2, 3, Task.MULTI_LABEL)
    assert nothing.shape == (2, 3)
    assert np.isnan(nothing).all()
