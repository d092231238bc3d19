"""Learning yields to inference: answers go out before labels are learned, and nothing else changes by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_agent import finished_files, training
from edge_agent.agent import Agent
from edge_agent.learner import AddClass, CorrectLabel, HeadLearner, LearnLabel, operations
from edge_agent.learner.learner import HeadLearner as Learner
from edge_agent.sensors import Spool
from edge_agent.store import SQLiteStore
from edge_agent.training import HELD_MAX
from headway.arrays import AnyArray
from headway.errors import StoreError
from tests.device import Device
from tests.edge_agent.variants import windows

Happened = list[str]


class Power(BaseException):
    """It is gone: no handler of the program runs any more."""


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> Happened:
    """What the agent did, in order: `answer NAME`, `learn`, `commit`."""
    found: Happened = []
    write, learn, commit = Spool._write_answer, HeadLearner.learn, SQLiteStore.commit

    def writing(spool: Spool, path: Path, *rest: object) -> None:
        write(spool, path, *rest)  # type: ignore[arg-type]
        found.append(f"answer {path.stem}")

    def learning(learner: Learner, *arguments: object) -> None:
        found.append("learn")
        learn(learner, *arguments)  # type: ignore[arg-type]

    def committing(store: SQLiteStore, *changes: object) -> None:
        commit(store, *changes)  # type: ignore[arg-type]
        found.append("commit")

    monkeypatch.setattr(Spool, "_write_answer", writing)
    monkeypatch.setattr(HeadLearner, "learn", learning)
    monkeypatch.setattr(SQLiteStore, "commit", committing)
    return found


def drop(device: Device, name: str, **arrays: AnyArray) -> None:
    part = device.folder / f".{name}.npz"
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.rename(device.folder / "spool" / f"{name}.npz")


def test_an_answer_is_on_the_disk_before_its_label_is_learned(tmp_path: Path, happened: Happened) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 1, 0)
    happened.clear()
    device.turn()
    assert happened[:3] == ["answer a", "learn", "commit"]
    assert device.tables == total
    assert len(device.loop.agent.labelling.queue) == 0


def test_files_that_wait_are_all_answered_before_any_of_their_labels_is_learned(
    tmp_path: Path, happened: Happened
) -> None:
    device = Device(tmp_path)
    for number in range(5):
        device.drop(f"f{number}", 2, number)
    happened.clear()
    device.turn()
    assert happened[:16] == [*(f"answer f{number}" for number in range(5)), *["learn"] * 10, "commit"]


def test_labels_that_come_later_do_not_hold_up_the_answers_of_their_group(tmp_path: Path, happened: Happened) -> None:
    device = Device(tmp_path)
    x, y = windows(4)
    ids = np.array([f"w{row}" for row in range(4)])
    drop(device, "1", x=x, id=ids)
    device.turn()
    happened.clear()
    drop(device, "2", x=x[:1])
    drop(device, "3", id=ids, y=y)
    device.turn()
    assert happened[:6] == ["answer 2", *["learn"] * 4, "commit"]


def test_a_file_of_many_labels_is_a_stream_and_lets_earlier_answers_go_first(
    tmp_path: Path, happened: Happened
) -> None:
    device = Device(tmp_path)
    device.drop("a", 1, 0)
    device.drop("b", HELD_MAX + 8, 1)
    happened.clear()
    device.turn()
    assert happened[:3] == ["answer a", "learn", "commit"]
    assert happened[3 : 3 + HELD_MAX + 9] == [*["learn"] * (HELD_MAX + 8), "answer b"]


def test_a_group_is_answered_when_it_holds_many_labels(tmp_path: Path, happened: Happened) -> None:
    device = Device(tmp_path)
    for number in range(HELD_MAX):
        device.drop(f"f{number:02d}", 2, number)
    happened.clear()
    device.turn()
    assert happened.index("learn") == HELD_MAX // 2, "half of the files hold as many labels as a group may"


@pytest.mark.parametrize("kind", ["exact", "gradient"])
def test_the_learner_does_not_know_that_labels_were_held(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corrected, taken back, delivered again and with new classes in one group: the same operations, in order."""
    found: list[list[object]] = []
    for name, held in (("held", HELD_MAX), ("at-once", -1)):
        done: list[object] = []
        apply = operations.apply

        def applying(
            learner: HeadLearner, operation: object, done: list[object] = done, apply: Callable[..., object] = apply
        ) -> object:
            if isinstance(operation, LearnLabel):
                done.append(("learn", operation.number, operation.features.codes.tobytes(), operation.label))
            elif isinstance(operation, CorrectLabel):
                done.append(("correct", operation.number, operation.before, operation.after))
            elif isinstance(operation, AddClass):
                done.append(("class", operation.name))
            return apply(learner, operation)

        with monkeypatch.context() as patch:
            patch.setattr("edge_agent.trial.trial.apply", applying)
            patch.setattr("edge_agent.intake.HELD_MAX", held)
            device = Device(tmp_path / name, kind=kind)
            x, y = windows(6)
            ids = np.array([f"w{row}" for row in range(6)])
            drop(device, "1", x=x, id=ids, y=y)
            drop(device, "2", id=ids[:2], y=(y[:2] + 1) % 3)
            drop(device, "3", id=ids[2:3], y=np.array([-1]))
            drop(device, "4", x=x[:1], id=ids[:1], y=y[:1])
            drop(device, "5", id=ids[4:], y=y[4:])
            device.turn()
            assert len(device.loop.agent.labelling.queue) == 0
        found.append(done)
    assert found[0] == found[1]
    assert sum(1 for each in found[0] if isinstance(each, tuple) and each[0] == "correct") >= 3


@pytest.mark.parametrize("learned", [0, 1, 4])
def test_power_that_fails_while_held_labels_are_learned_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learned: int
) -> None:
    device, left = Device(tmp_path), learned
    total = device.drop("f0", 1, 0)
    for number in range(1, 5):
        total = total + device.drop(f"f{number}", 1, number)
    learn = Agent.learn_waiting

    def failing(agent: Agent, count: int) -> int:
        nonlocal left
        if left == 0:
            raise Power
        left -= 1
        return learn(agent, count)

    with monkeypatch.context() as patch:
        patch.setattr(Agent, "learn_waiting", failing)
        with pytest.raises(Power):
            device.turn()
    given = {path.name: path.read_bytes() for path in (tmp_path / "predictions").iterdir()}
    assert len(given) == 5, "they were answered before"
    device.boot()
    device.turn()
    assert (device.tables, device.claimed()) == (total, 0)
    assert {path.name: path.read_bytes() for path in (tmp_path / "predictions").iterdir()} == given


def test_after_a_kill_time_closes_no_group_so_that_answers_are_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path)
    for number in range(5):
        device.drop(f"f{number}", 1, number)
    with monkeypatch.context() as patch:
        patch.setattr(SQLiteStore, "commit", lambda store, changes: (_ for _ in ()).throw(Power))
        with pytest.raises(Power):
            device.turn()
    given = {path.name: path.read_bytes() for path in (tmp_path / "predictions").iterdir()}
    monkeypatch.setattr(finished_files, "AGE_S_MAX", 0.0)
    device.boot()
    device.turn()
    assert {path.name: path.read_bytes() for path in (tmp_path / "predictions").iterdir()} == given
    assert device.claimed() == 0


def test_a_window_that_comes_meanwhile_is_answered_before_the_next_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happened: Happened
) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 8, 0)
    policy = device.loop._training._policy
    monkeypatch.setattr(policy, "interrupted", lambda: True)
    happened.clear()
    device.turn()
    assert happened[:5] == ["answer a", "learn", "commit", "learn", "commit"], "one label, and then the next window"
    assert device.loop.next_poll_s <= device.clock.now_s, "it looks at once"
    drop(device, "c", x=windows(1)[0])
    device.boot()
    happened.clear()
    device.turn()
    assert happened.index("answer c") < happened.index("learn"), "also after a kill, when the others wait in the store"
    assert device.tables == total


def test_a_long_file_of_labels_lets_windows_go_first_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happened: Happened
) -> None:
    device = Device(tmp_path)
    x, y = windows(120)
    ids = np.array([f"w{row}" for row in range(120)])
    drop(device, "1", x=x, id=ids)
    device.turn()
    monkeypatch.setattr("edge_agent.intake.LATE_S_MAX", -1.0)
    monkeypatch.setattr(training, "HELD_S_MAX", -1.0)
    drop(device, "2", id=ids, y=y)
    drop(device, "3", x=x[:1])
    happened.clear()
    device.turn()
    assert "learn" not in happened[: happened.index("answer 3")]
    assert device.loop.agent.learner.labels == 120, "and then all of them, in steps"


def test_a_disk_that_refuses_the_answer_costs_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 1, 0)

    def refusing(spool: Spool, *arguments: object) -> None:
        raise StoreError("cannot write: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_write_answer", refusing)
        device.turn()
        assert "No space left" in device.loop.condition
    device.turn(60.0)
    assert (device.answers(), device.tables, device.claimed()) == ({"a"}, total, 0)
    device.boot()
    assert device.tables == total
