"""Classes that come, go, or get another name, by name, across restarts and the fleet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.cli import main
from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.learner import said
from edge_agent.learner_settings import LearnerSettings
from edge_agent.loop import DeviceLoop
from edge_agent.store import MemoryStore
from headway.class_changes import ClassChanges
from headway.errors import DataError, StoreError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.samples import read_samples
from headway.wire.messages import PublishedHead, StatisticsReport
from headway.wire.topics import Kind
from tests.arrays import assert_same
from tests.device import ManualClock, RecordingTransport, open_device
from tests.edge_agent.variants import CLASSES, SIZE, pipeline, variant, windows


def config(tmp_path: Path, kind: str = "exact", label_map: dict[str, str] | None = None) -> AgentConfig:
    sensor = SensorSettings(tmp_path / "spool", tmp_path / "predictions", label_map=label_map or {})
    learner = LearnerSettings(kind=kind, new_classes=True)
    return AgentConfig("wrist-1", "plant", tmp_path / "model.hwb", tmp_path, sensor, learner)


def opened(settings: AgentConfig, store: MemoryStore) -> tuple[Agent, DeviceLoop]:
    loop = open_device(settings, ManualClock(), store, transport=RecordingTransport())
    return loop.agent, loop


def turn(loop: DeviceLoop) -> None:
    loop.next_poll_s = 0.0
    loop.turn()


def drop(settings: AgentConfig, name: str, **arrays: object) -> None:
    np.savez(settings.sensor.spool_dir / name, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["exact", "gradient"])
def test_added_renamed_and_removed_by_files_between_the_labels(tmp_path: Path, kind: str) -> None:
    settings, store = config(tmp_path, kind), MemoryStore()
    agent, loop = opened(settings, store)
    store.commit(agent.checkpoint())
    x, y = windows(60)
    names = np.array(CLASSES)[y].astype("U16")
    names[::5] = "class-7"
    drop(settings, "1.npz", x=x, y=names)
    turn(loop)
    assert agent.learner.classes == (*CLASSES, "class-7")
    counter = agent.sync_state.counter
    drop(settings, "2.npz", rename_class=np.array([["class-7", "stumble"]]), remove_class=np.array(["walk"]))
    turn(loop)
    assert agent.learner.classes == (*CLASSES, "stumble")
    assert agent.sync_state.counter == counter + 1, "so that it is reported"
    again, _ = opened(settings, store)
    assert again.learner.classes == (*CLASSES, "stumble")
    assert again.learner.removed == {"walk"}
    assert again.learner.encode() == agent.learner.encode()
    drop(settings, "3.npz", x=x[:6], y=np.array(["stumble"] * 6))
    turn(loop)
    probability = agent.process(pipeline().features(x), None).probability
    np.testing.assert_array_equal(probability[:, 1], 0)
    drop(settings, "4.npz", add_class=np.array(["walk"]))
    turn(loop)
    assert not agent.learner.removed
    if kind == "exact":
        assert agent.learner.trainer.statistics.counts[3] == 18  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (ClassChanges(remove=("wlak",)), "'wlak' cannot be removed: it is no class; did you mean 'walk'"),
        (ClassChanges(remove=("walk", "run", "idle")), "two must stay"),
        (ClassChanges(rename=(("walk", "fall"),)), "cannot become 'fall'"),
        (ClassChanges(rename=(("walk", "stroll"), ("fall", "walk"))), "the bundle's name of another class"),
        (ClassChanges(rename=(("walk", "stroll"),), add=("walk",)), "it is the bundle's name of 'stroll'"),
        (ClassChanges(rename=(("fall", "walk"),)), "cannot become 'walk'"),
        (ClassChanges(rename=(("fell", "x"),)), "it is no class; did you mean 'fall'"),
        (ClassChanges(rename=(("fall", ""),)), "cannot become ''"),
    ],
)
def test_what_cannot_be_done_changes_nothing(tmp_path: Path, changes: ClassChanges, problem: str) -> None:
    agent, _ = opened(config(tmp_path), MemoryStore())
    agent.add_class("fall")
    before = agent.learner.encode()
    with pytest.raises(DataError, match=problem):
        agent.change_classes(changes)
    assert agent.learner.encode() == before


def test_an_order_that_cannot_be_carried_out_is_rejected_with_the_reason(tmp_path: Path) -> None:
    settings = config(tmp_path)
    agent, loop = opened(settings, MemoryStore())
    drop(settings, "1.npz", add_class=np.array(["fall"]), remove_class=np.array(["sleep"]))
    drop(settings, "2.npz", rename_class=np.array(["a", "b"]))
    turn(loop)
    assert agent.learner.classes == CLASSES
    reasons = [(settings.sensor.spool_dir / "rejected" / f"{n}.npz.reason").read_text() for n in (1, 2)]
    assert "'sleep' cannot be removed" in reasons[0]
    assert "(n, 2), old and new name" in reasons[1]


def test_the_command_puts_the_order_into_the_spool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config(tmp_path)
    _, loop = opened(settings, MemoryStore())
    toml = tmp_path / "agent.toml"
    toml.write_text('[device]\nid = "d"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "."\n')
    assert main(["classes", str(toml)]) == 2
    for name in ("fall", "swim"):
        assert main(["classes", str(toml), "--add", name, "--remove", "walk"]) == 0
    turn(loop)
    assert loop.agent.learner.classes == (*CLASSES, "fall", "swim")
    assert loop.agent.learner.removed == {"walk"}
    assert "waits in the spool" in capsys.readouterr().out


def test_label_files_with_other_names(tmp_path: Path) -> None:
    settings = config(tmp_path, label_map={"gehen": "walk"})
    agent, loop = opened(settings, MemoryStore())
    x, _ = windows(4)
    drop(settings, "1.npz", x=x, y=np.array(["gehen", "gehen", "", "walk"]))
    turn(loop)
    assert agent.learner.classes == CLASSES
    assert agent.learner.trainer.statistics.counts.tolist() == [0, 3, 0]  # type: ignore[union-attr]


def test_a_head_from_before_the_fleet_heard_of_the_name_does_not_bring_the_old_one_back(tmp_path: Path) -> None:
    agent, _ = opened(config(tmp_path), MemoryStore())
    agent.add_class("class-7")
    agent.change_classes(ClassChanges(rename=(("class-7", "stumble"),), remove=("run",)))
    classes = (*CLASSES, "class-7")
    bias = np.array([0, 0, 5, 9], np.float32)
    head = Head(np.zeros((SIZE, 4), np.float32), bias, HeadKind.SOFTMAX, classes, HeadInput.CODES)
    assert agent.learner.adopt(PublishedHead(1, "exact", variant().space, 3, 100, head))
    assert agent.learner.classes == (*CLASSES, "stumble")
    assert agent.learner.removed == {"run"}, "the fleet's head does not bring a removed class back"
    features = pipeline().features(windows(1)[0])
    assert said(head, features, agent.learner.names)[0].argmax() == 3


def test_reports_carry_the_new_name_and_an_older_epochs_baseline_too(tmp_path: Path) -> None:
    store = MemoryStore()
    settings = config(tmp_path)
    agent, loop = opened(settings, store)
    drop(settings, "1.npz", x=windows(9)[0], y=np.array(["class-7"] * 9))
    turn(loop)
    agent, _ = opened(settings, store)
    store.commit(agent.fork("a test"))
    agent.change_classes(ClassChanges(rename=(("class-7", "stumble"),)))
    agent.process(pipeline().features(windows(5, seed=2)[0]), np.full(5, 3))
    report = next(send for send in agent.due(1e6, connected=True) if send.kind is Kind.STATISTICS)
    tables = StatisticsReport.decode(report.payload).statistics
    assert tables.classes == (*CLASSES, "stumble")
    assert tables.counts.tolist() == [0, 0, 0, 5]


@pytest.mark.parametrize("broken", [np.array([1, 2]), np.array([["a", "b", "c"]]), np.array("a")])
def test_a_damaged_order_is_named(tmp_path: Path, broken: object) -> None:
    np.savez(tmp_path / "o.npz", rename_class=broken)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="rename_class is"):
        read_samples(tmp_path / "o.npz", CLASSES, label_files=True)


def test_two_devices_that_agree_on_a_name_have_one_class(tmp_path: Path) -> None:
    """Union by name: what the aggregator adds up, here in its simplest form."""
    reports = []
    for number, rename in enumerate(("", "class-1")):
        (tmp_path / str(number)).mkdir()
        agent, _ = opened(config(tmp_path / str(number)), MemoryStore())
        agent.add_class(rename or "fall")
        agent.process(pipeline().features(windows(7, seed=number)[0]), np.full(7, 3))
        if rename:
            agent.change_classes(ClassChanges(rename=((rename, "fall"),)))
        reports.append(agent.learner.trainer.statistics)  # type: ignore[union-attr]
    assert (reports[0] + reports[1]).counts.tolist() == [0, 0, 0, 14]


@pytest.mark.parametrize("kind", ["exact", "gradient"])
def test_a_class_of_the_bundle_has_another_name_here_and_its_own_in_the_fleet(tmp_path: Path, kind: str) -> None:
    settings, store = config(tmp_path, kind), MemoryStore()
    agent, loop = opened(settings, store)
    plain, _ = opened(config(tmp_path, kind), MemoryStore())
    store.commit(agent.checkpoint())
    x, y = windows(40, drift=0.5)
    drop(settings, "1.npz", rename_class=np.array([["walk", "stroll"]]))
    turn(loop)
    renamed = ("idle", "stroll", "run")
    assert agent.learner.classes == renamed
    drop(settings, "2.npz", x=x, y=np.array(renamed)[y])
    turn(loop)
    plain.process(pipeline().features(x), y)
    later = pipeline().features(windows(30, drift=0.5, seed=5)[0])
    answers = [one.process(later, None).probability for one in (agent, plain)]
    assert_same(*answers, where="columns keep their places, and nothing learned is lost")
    assert agent.learner.names.wire_names == CLASSES
    assert all(head.classes == CLASSES for head in agent.learner.trainer.candidates().values())
    if kind == "exact":
        report = next(send for send in agent.due(1e6, connected=True) if send.kind is Kind.STATISTICS)
        assert StatisticsReport.decode(report.payload).statistics == plain.learner.trainer.statistics  # type: ignore[union-attr]
    again, _ = opened(settings, store)
    assert again.learner.classes == renamed
    assert again.learner.encode() == agent.learner.encode()


def test_the_bundles_name_stays_taken_and_can_come_back(tmp_path: Path) -> None:
    settings = config(tmp_path)
    agent, loop = opened(settings, MemoryStore())
    agent.change_classes(ClassChanges(rename=(("walk", "stroll"),), remove=("stroll",)))
    assert agent.learner.removed == {"stroll"}
    drop(settings, "1.npz", x=windows(2)[0], y=np.array(["walk", "run"]))
    turn(loop)
    reason = (settings.sensor.spool_dir / "rejected" / "1.npz.reason").read_text()
    assert "it is the bundle's name of 'stroll'" in reason
    assert agent.learner.labels == 0
    agent.change_classes(ClassChanges(rename=(("stroll", "amble"),)))
    agent.change_classes(ClassChanges(rename=(("amble", "walk"),), add=("walk",)))
    assert agent.learner.classes == CLASSES
    assert not agent.learner.removed
    assert not agent.learner.names.aliases


def test_what_others_call_by_that_name_is_the_same_class_here(tmp_path: Path) -> None:
    agent, _ = opened(config(tmp_path), MemoryStore())
    agent.change_classes(ClassChanges(rename=(("walk", "stroll"),)))
    classes = (*CLASSES, "stroll")
    bias = np.log(np.array([0.4, 0.3, 0.1, 0.2], np.float32))
    head = Head(np.zeros((SIZE, 4), np.float32), bias, HeadKind.SOFTMAX, classes, HeadInput.CODES)
    assert agent.learner.adopt(PublishedHead(1, "exact", variant().space, 3, 100, head))
    assert agent.learner.classes == ("idle", "stroll", "run")
    probability = said(head, pipeline().features(windows(1)[0]), agent.learner.names)[0]
    assert probability == pytest.approx([0.4, 0.5, 0.1])


def test_a_saved_name_that_is_not_the_bundles_is_refused(tmp_path: Path) -> None:
    agent, _ = opened(config(tmp_path), MemoryStore())
    agent.change_classes(ClassChanges(rename=(("walk", "stroll"),)))
    with pytest.raises(StoreError, match="other classes than the bundle"):
        agent.learner.names.restore(("idle", "stroll", "run"), (), {"walk": "amble"})


def test_a_new_name_that_is_too_long_is_rejected_with_the_reason(tmp_path: Path) -> None:
    settings = config(tmp_path)
    agent, loop = opened(settings, MemoryStore())
    drop(settings, "1.npz", x=windows(3)[0], y=np.array(["fall", "walk", "x" * 300]))
    turn(loop)
    assert agent.learner.classes == CLASSES
    assert agent.learner.labels == 0
    assert "1 to 256 characters" in (settings.sensor.spool_dir / "rejected" / "1.npz.reason").read_text()
    with pytest.raises(DataError, match="1 to 256"):
        agent.change_classes(ClassChanges(rename=(("walk", "stroll"),), add=("x" * 300,)))
    assert agent.learner.classes == CLASSES, "nothing of an order that cannot be carried out"
