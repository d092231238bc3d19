"""A large file is learned slice by slice: exactly once, and answered as a whole, whatever is killed when."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent import file_at_hand, intake, training
from edge_agent.answer_draft import AnswerDraft, write_answer
from edge_agent.attempts import Attempts
from edge_agent.effects import Answer
from edge_agent.loop import ATTEMPTS, DRAFT
from edge_agent.persistence import states
from edge_agent.sensors import Spool, WindowFormat
from edge_agent.sensors.formats import lines, opening, rows_array
from edge_agent.store import Backup, open_store
from edge_agent.store.retrying import RETRY_S
from edge_agent.store.store import Condition, SQLiteStore, StoreFailure
from headway.durable import content_bytes
from headway.errors import StoreError
from headway.maths.task import Task
from headway.stream import Channel, StreamFormat
from tests.arrays import assert_same
from tests.device import Device, ManualClock, RecordingTransport, open_device
from tests.edge_agent.variants import CLASSES, variant, windows
from tests.nightly import nightly

UNIT_ROWS, SLICE_ROWS, ROWS = 8, 16, 90


class PowerCut(BaseException):
    """Everything in memory is gone."""


@dataclass
class HastyClock(ManualClock):
    """Each look costs a random time: a turn is over after any number of rows."""

    chance: random.Random | None = None

    def monotonic_s(self) -> float:
        if self.chance is not None:
            self.now_s += self.chance.expovariate(1.0) * self.chance.choice([0.0, 0.01, 0.2])
        return self.now_s


class Power:
    """Fails before or after the n-th effect from now on."""

    def __init__(self) -> None:
        self.left = -1

    def point(self) -> None:
        if self.left >= 0:
            self.left -= 1
            if self.left < 0:
                raise PowerCut


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    """Around everything that lasts."""
    power = Power()

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            power.point()
            result = method(*arguments, **named)
            power.point()
            return result

        return call

    effects: list[tuple[type, str]] = [(SQLiteStore, "commit"), (AnswerDraft, "flush"), (AnswerDraft, "clear")]
    effects += [(Spool, name) for name in ("answer", "release", "reject", "recover", "prune_answers")]
    for owner, name in effects:
        monkeypatch.setattr(owner, name, around(getattr(owner, name)))
    return power


@pytest.fixture(scope="module", autouse=True)
def small_units() -> Iterator[None]:
    """A file of `ROWS` rows is a large one. How long classes last is off: a restart forgets it, on purpose. No label
    has to wait until others are answered: that depends on the clock, on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "LATE_S_MAX", float("inf"))
        patch.setattr(training, "HELD_S_MAX", float("inf"))
        patch.setattr(file_at_hand, "UNIT_ROWS", UNIT_ROWS)
        patch.setattr(states, "LEAD_MIN", float("inf"))
        yield


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SLICE_ROWS_MAX", SLICE_ROWS)


def put(device: Device, name: str, **arrays: np.ndarray) -> None:
    part = device.folder / f".{name}.npz"
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.rename(device.folder / "spool" / f"{name}.npz")


def drop_all(device: Device) -> None:
    """A large file with ids and some labels, the labels of others in a file of their own, and a small file."""
    x, y = windows(ROWS, drift=0.8, seed=1)
    chance = np.random.default_rng(2)
    given = np.where(chance.random(ROWS) < 0.4, y, -1)
    ids = np.array([f"w{row}" for row in range(ROWS)])
    put(device, "a-large", x=x, y=given, id=ids)
    put(device, "b-labels", y=y[::2].copy(), id=ids[::2].copy())
    # its one label comes last: where the clock cuts a small file, the rows behind the cut know the labels before it
    put(device, "c-small", x=x[:5], y=np.array([-1, -1, -1, -1, y[4]]))


def run(device: Device, turns: int = 400) -> None:
    """Until the spool is empty."""
    for _ in range(turns):
        device.turn()
        if not device.claimed() and all(path.is_dir() for path in (device.folder / "spool").iterdir()):
            return
    pytest.fail("the spool is not empty")


def outcome(device: Device) -> tuple[bytes, dict[str, bytes], int, int]:
    """Everything that must not depend on kills and clocks: what is learned, and every answer."""
    answers = {path.name: path.read_bytes() for path in (device.folder / "predictions").glob("*.npz")}
    state = device.loop.agent.sync_state
    return device.loop.agent.learner.encode(), answers, state.counter, state.consumed


@pytest.fixture(scope="module")
def undisturbed(
    small_units: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, dict[str, bytes], int, int]:
    """In one slice each, without a kill."""
    device = Device(tmp_path_factory.mktemp("undisturbed"))
    drop_all(device)
    device.turn()
    return outcome(device)


@pytest.mark.parametrize("seed", [0, 1, *map(nightly, range(2, 12))])
def test_whatever_is_killed_when_the_learner_and_the_answers_are_the_same_to_the_bit(
    tmp_path: Path, power: Power, small_slices: None, undisturbed: tuple[bytes, dict[str, bytes], int, int], seed: int
) -> None:
    chance = random.Random(seed)
    device = Device(tmp_path)
    if seed % 2:
        device.clock = HastyClock(chance=chance)
        device.boot()
    drop_all(device)
    cuts = 0
    while cuts < 8:
        power.left = chance.randrange(14)
        try:
            for _ in range(chance.randint(1, 20)):
                device.turn()
            break
        except PowerCut:
            cuts += 1
            power.left = -1
            # as a power cut does, which is no try of the file
            (device.state / ATTEMPTS).unlink(missing_ok=True)
            device.boot()
    power.left = -1
    run(device)
    assert outcome(device) == undisturbed
    assert not (device.state / DRAFT).exists()
    assert device.loop.agent.sync_state.begun == 0


@pytest.mark.parametrize("step", [9, nightly(1)])
def test_every_single_point_of_a_file_may_be_the_last(
    tmp_path: Path, power: Power, small_slices: None, undisturbed: tuple[bytes, dict[str, bytes], int, int], step: int
) -> None:
    for point in range(0, 1000, step):
        folder = tmp_path / str(point)
        folder.mkdir()
        device = Device(folder)
        drop_all(device)
        power.left = point
        try:
            run(device)
        except PowerCut:
            device.boot()
            run(device)
            assert outcome(device) == undisturbed, f"killed at point {point}"
        else:
            break
    assert point > 30
    power.left = -1


def test_the_answer_appears_when_it_is_whole(tmp_path: Path, power: Power, small_slices: None) -> None:
    device = Device(tmp_path)
    drop_all(device)
    power.left = 9
    with pytest.raises(PowerCut):
        device.turn()
    assert device.answers() == set()
    device.boot()
    assert 0 < device.loop.agent.sync_state.begun_rows < ROWS
    run(device)
    assert device.answers() == {"a-large", "c-small"}
    with np.load(tmp_path / "predictions" / "a-large.npz") as answer:
        assert answer["prediction"].shape == (ROWS,)
        assert answer["served_by"].shape == (ROWS,)


def test_a_turn_ends_in_time_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """A backbone that takes 50 ms a window."""
    device = Device(tmp_path)
    x, y = windows(ROWS, drift=0.8, seed=1)
    put(device, "large", x=x, y=y)
    pipeline, clock = device.loop._pipeline, device.clock
    embed = pipeline._runtime.embed

    class Slow:
        name = "slow"

        def embed(self, inputs: np.ndarray) -> np.ndarray:
            clock.now_s += 0.05 * len(inputs)
            found: np.ndarray = embed(inputs)
            return found

    pipeline._runtime = Slow()  # type: ignore[assignment]
    rows = []
    for _ in range(100):
        before_s = clock.now_s
        device.turn(0.001)
        assert clock.now_s - before_s < 1.3
        rows.append(device.loop.agent.sync_state.begun_rows)
        if device.answers():
            break
    assert len(rows) > 5
    assert rows[:-1] == sorted(rows[:-1])
    assert device.loop.agent.learner.labels == ROWS


def test_a_request_to_stop_ends_a_turn_inside_a_file(tmp_path: Path, power: Power) -> None:
    device = Device(tmp_path)
    x, y = windows(ROWS, drift=0.8, seed=1)
    put(device, "large", x=x, y=y)
    asked = iter(range(1000))
    assert device.loop._intake.poll(lambda: next(asked) > 50) > 0
    assert not device.answers()
    state = device.loop.agent.sync_state
    assert 0 < state.begun_rows < ROWS
    assert device.loop.agent.learner.labels == state.begun_rows
    device.boot()
    assert device.loop.agent.sync_state.begun_rows == state.begun_rows
    run(device)
    assert device.loop.agent.learner.labels == ROWS


def test_what_is_wrong_far_behind_is_found_before_anything_is_learned(tmp_path: Path) -> None:
    device = Device(tmp_path)
    x, y = windows(ROWS, seed=1)
    x[75] = np.nan
    put(device, "large", x=x, y=y)
    device.turn()
    assert device.loop.agent.learner.labels == 0
    reason = (tmp_path / "spool" / "rejected" / "large.npz.reason").read_text()
    assert reason.startswith("rows 72 to 79: sample 3 has no finite value")


def test_a_backbone_that_fails_far_behind_says_what_is_learned(tmp_path: Path, small_slices: None) -> None:
    device = Device(tmp_path)
    x, y = windows(ROWS, seed=1)
    x[75] = 3e38  # finite, but its features are not
    put(device, "large", x=x, y=y)
    put(device, "next", x=x[:5], y=y[:5])
    embed = device.loop._pipeline._runtime.embed

    class Overflowing:
        name = "overflowing"

        def embed(self, inputs: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore"):
                found: np.ndarray = embed(inputs) * np.float32(10) * np.float32(0.1)
            return found

    device.loop._pipeline._runtime = Overflowing()  # type: ignore[assignment]
    device.turn()
    reason = (tmp_path / "spool" / "rejected" / "large.npz.reason").read_text()
    assert "rows 72 to 79" in reason
    assert "its first 72 rows are learned: give only those after them again" in reason
    assert device.loop.agent.learner.labels == 72 + 5
    assert device.answers() == {"next"}
    device.boot()
    assert device.loop.agent.learner.labels == 72 + 5


def test_a_disk_that_refuses_inside_a_file_still_gets_predictions_and_later_all_of_it(
    tmp_path: Path,
    small_slices: None,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: tuple[bytes, dict[str, bytes], int, int],
) -> None:
    device = Device(tmp_path)
    drop_all(device)
    commit, refusing, commits = SQLiteStore.commit, True, iter(range(1000))

    def full(self: SQLiteStore, changes: Any) -> None:
        if refusing and next(commits) > 1:
            raise StoreFailure(Condition.FULL, "database or disk is full")
        commit(self, changes)

    monkeypatch.setattr(SQLiteStore, "commit", full)
    device.turn()
    assert device.loop.condition.startswith("degraded")
    assert device.answers() == {"a-large", "c-small"}, "predictions go on"
    learned = device.loop.agent.sync_state.begun_rows
    assert 0 < learned < ROWS
    device.turn()
    assert device.loop.agent.sync_state.begun_rows == learned, "nothing more is learned"
    refusing = False
    device.turn(RETRY_S)
    run(device)
    assert outcome(device) == undisturbed


def test_an_answer_that_the_disk_refuses_to_keep_in_parts_is_kept_in_memory(
    tmp_path: Path,
    small_slices: None,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: tuple[bytes, dict[str, bytes], int, int],
) -> None:
    device = Device(tmp_path)
    drop_all(device)
    flush, refusing = AnswerDraft.flush, True

    def full(self: AnswerDraft) -> None:
        if refusing:
            raise StoreError("cannot write agent.answer: No space left on device")
        flush(self)

    monkeypatch.setattr(AnswerDraft, "flush", full)
    before = device.loop.store.current.journal()
    device.turn()
    assert "agent.answer" in device.loop.condition
    assert device.loop.store.current.journal() == before, "not learned before its answer is kept"
    refusing = False
    device.turn(RETRY_S)
    run(device)
    assert outcome(device) == undisturbed


class SlicedDevice(Device):
    """Reads files of every format in slices, and looks at some of each at a time. Its bundle has a stream, or none."""

    def __init__(self, folder: Path, stream: StreamFormat | None) -> None:
        self._stream = stream
        super().__init__(folder)

    def boot(self) -> None:
        if hasattr(self, "loop") and self.loop._intake._at_hand is not None:
            self.loop._intake._at_hand.close()  # as the kernel does
        its, settings = variant(), replace(self.config.sensor, file_bytes_max=1024, settle_s=0.0)
        spool = Spool(settings, self.clock, WindowFormat(its.input_shape, its.preprocessing.time_axis, self._stream))
        self.wire = RecordingTransport()
        store, backup = open_store(self.state), Backup(self.state)
        parts = {"transport": self.wire, "backup": backup, "folder": self.state, "sensor": spool}
        self.loop = open_device(self.config, self.clock, store, **parts)  # type: ignore[arg-type]
        self.loop.start()


LEVEL = StreamFormat((Channel("level"),), rate_hz=8.0, length=8, hop=8)
TAKEN = {"a.npz": None, "a.csv": None, "a.jsonl": None, "rows.csv": LEVEL, "rows.npy": LEVEL}


def drop_sliced(device: Device, name: str) -> None:
    """The same windows, some with labels, in one file of this format, and a small one behind it."""
    x, y = windows(ROWS, drift=0.8, seed=1)
    labels = [CLASSES[index] if row % 3 else "" for row, index in enumerate(y.tolist())]
    part = device.folder / ".part"
    if name == "a.npz":
        np.savez(device.folder / "part.npz", x=x, y=np.array(labels), id=np.array([f"w{row}" for row in range(ROWS)]))
        (device.folder / "part.npz").rename(part)
    elif name == "a.csv":
        lines = [f"w{row},{labels[row]}," + ",".join(map(repr, x[row].tolist())) for row in range(ROWS)]
        part.write_text("\n".join(["id,label,a,b,c,d,e,f,g,h", *lines]))
    elif name == "a.jsonl":
        objects = ({"id": f"w{row}", "label": labels[row], "x": x[row].tolist()} for row in range(ROWS))
        part.write_text("\n".join(map(json.dumps, objects)))
    elif name == "rows.csv":
        lines = [f"{value!r},{labels[row]}" for row in range(ROWS) for value in x[row].tolist()]
        part.write_text("\n".join(["level,label", *lines]))
    else:
        with part.open("wb") as file:
            np.save(file, x.reshape(-1, 1))
    part.rename(device.folder / "spool" / name)
    put(device, "z-small", x=x[:5], y=y[:5])


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch, small_slices: None) -> None:
    """A moment is over at once, a block is a few rows, and nothing is held."""
    monkeypatch.setattr(opening, "MOMENT_S", -1.0)
    for module in (lines, rows_array):
        monkeypatch.setattr(module, "BLOCK_NUMBERS", 100)


@pytest.mark.parametrize("name", ["a.npz", "rows.csv", *map(nightly, sorted(TAKEN.keys() - {"a.npz", "rows.csv"}))])
def test_a_file_beyond_the_bound_is_learned_in_slices_exactly_once_whatever_is_killed(
    tmp_path: Path, power: Power, sliced: None, name: str
) -> None:
    whole = SlicedDevice(tmp_path / "whole", TAKEN[name])
    drop_sliced(whole, name)
    run(whole)
    answer = f"{name.removesuffix('.npz')}.npz"
    with np.load(tmp_path / "whole" / "predictions" / answer) as found:
        assert len(found["prediction"]) == ROWS
        assert ("id" in found) == name.startswith("rows")
    learned = 5 if name == "rows.npy" else 60 + 5
    assert whole.loop.agent.learner.labels == learned
    assert len(whole.answers()) == 2
    for seed in range(2):
        chance, cuts = random.Random(seed), 0
        device = SlicedDevice(tmp_path / str(seed), TAKEN[name])
        drop_sliced(device, name)
        while cuts < 6:
            power.left = chance.randrange(14)
            try:
                for _ in range(chance.randint(1, 20)):
                    device.turn()
                break
            except PowerCut:
                cuts += 1
                power.left = -1
                (device.state / ATTEMPTS).unlink(missing_ok=True)
                device.boot()
        power.left = -1
        run(device)
        assert cuts
        assert outcome(device) == outcome(whole)


def test_what_is_answered_of_a_large_file_is_passed_over_a_moment_at_a_time(
    tmp_path: Path, power: Power, sliced: None
) -> None:
    device = SlicedDevice(tmp_path, None)
    drop_sliced(device, "a.csv")
    power.left = 14
    with pytest.raises(PowerCut):
        run(device)
    begun = device.loop.agent.sync_state.begun_rows
    assert begun > 2 * UNIT_ROWS
    device.boot()
    asked = iter(range(1000))
    for _ in range(20):
        device.loop._intake.poll(lambda: next(asked) >= 0)
        if device.loop.agent.sync_state.begun_rows > begun:
            break
    assert next(asked) > 2, "several polls went over what was answered"
    run(device)
    assert device.loop.agent.learner.labels == 65


@pytest.mark.parametrize("harm", ["removed", "cut short", "of another file"])
def test_lost_parts_of_an_answer_are_predicted_anew_and_nothing_is_learned_twice(
    tmp_path: Path, power: Power, small_slices: None, harm: str
) -> None:
    device = Device(tmp_path)
    x, y = windows(ROWS, drift=0.8, seed=1)
    put(device, "large", x=x, y=y)
    power.left = 10
    with pytest.raises(PowerCut):
        device.turn()
    draft = device.state / DRAFT
    content = bytearray(draft.read_bytes())
    if harm == "removed":
        draft.unlink()
    elif harm == "cut short":
        draft.write_bytes(content[:-9])
    else:
        content[0] ^= 1
        draft.write_bytes(content)
    device.boot()
    run(device)
    assert device.loop.agent.learner.labels == ROWS
    with np.load(tmp_path / "predictions" / "large.npz") as answer:
        assert answer["prediction"].shape == (ROWS,)


def test_a_draft_that_cannot_be_removed_holds_up_no_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(tmp_path)
    (device.state / DRAFT).write_bytes(b"left by a kill just before its removal")

    def read_only(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    device.boot()
    x, y = windows(4)
    put(device, "a", x=x, y=y)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        device.turn()
        device.turn()
        assert device.answers() == {"a"}
    device.turn(RETRY_S)
    run(device)
    assert device.loop.agent.learner.labels == 4


def parts_of(answer: Answer, sizes: Iterator[int]) -> Iterator[Answer]:
    start = 0
    while start < len(answer):
        stop = start + next(sizes)
        yield Answer(answer.prediction[start:stop], answer.probability[start:stop], answer.served_by[start:stop])
        start = stop


def test_an_answer_in_parts_has_the_bytes_of_one_in_one_piece(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    probability = chance.random((50, 4)).astype(np.float32)
    names = np.array(["frozen"] * 20 + ["exact"] * 30)
    whole = Answer.from_outputs(probability, names, Task.CLASSIFICATION)
    expected = content_bytes(lambda stream: write_answer(stream, lambda: (whole,)))
    draft = AnswerDraft(tmp_path / "draft", Task.CLASSIFICATION)
    row = 0
    for part in parts_of(whole, iter([7, 20, 23])):
        draft.append(3, row, part)
        row += len(part)
    assert content_bytes(lambda stream: write_answer(stream, draft.parts)) == expected
    again = AnswerDraft(tmp_path / "draft", Task.CLASSIFICATION)
    assert again.resume(3, 27) == 27
    assert [len(part) for part in again.parts()] == [7, 20]
    (tmp_path / "answer.npz").write_bytes(expected)
    with np.load(tmp_path / "answer.npz") as found:
        assert_same(found["probability"], probability)
        assert found["source"].tolist() == found["served_by"].tolist() == names.tolist()
        assert_same(found["prediction"], probability.argmax(axis=1))


def test_tries_count_only_while_a_file_is_worked_on(tmp_path: Path) -> None:
    path = tmp_path / "tries"
    attempts = Attempts(path)
    with attempts.trying(7, 0):
        pass
    with pytest.raises(StoreError), attempts.trying(7, 0):
        raise StoreError("a refusal is an end, too")
    assert Attempts(path).tries(7, 0) == 0
    for number in range(1, 4):
        with pytest.raises(PowerCut), Attempts(path).trying(7, 0):
            raise PowerCut
        assert Attempts(path).tries(7, 0) == number
        assert Attempts(path).tries(7, 0) == number, "a start alone is no try"
    assert Attempts(path).tries(7, 64) == 0, "progress was made"
    assert Attempts(path).tries(8, 0) == 0
    path.write_bytes(path.read_bytes()[:70])
    assert Attempts(path).tries(7, 0) == 0, "a damaged count counts nothing"


def test_a_file_that_ends_the_process_three_times_is_set_aside_and_the_next_goes_on(tmp_path: Path) -> None:
    device = Device(tmp_path)
    x, y = windows(20, drift=0.8, seed=1)
    put(device, "a-bad", x=x, y=y)
    put(device, "b-good", x=x, y=y)
    for _ in range(3):
        device.loop._pipeline.features = _dies  # type: ignore[method-assign]
        with pytest.raises(PowerCut):
            device.turn()
        assert device.answers() == set()
        device.boot()
    run(device)
    assert device.answers() == {"b-good"}
    reason = (tmp_path / "spool" / "rejected" / "a-bad.npz.reason").read_text()
    assert reason.startswith("tried 3 times without coming to an end")
    assert "input-rejected" in device.wire.event_names
    assert device.loop.agent.learner.labels == 20


def _dies(x: np.ndarray) -> None:
    raise PowerCut


def test_a_file_taken_away_half_learned_does_not_cost_the_next_one_its_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the state alone, or a spool that was emptied by hand: the next file is not the rest of it."""
    device = Device(tmp_path)
    device.drop("a", 6, 0)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "POLL_S", -1.0)  # a poll ends after the first label
        device.turn()
    assert 0 < device.tables.samples < 6
    learned = device.tables
    for file in (tmp_path / "spool" / "claimed").iterdir():
        file.unlink()
    device.boot()
    wanted = learned + device.drop("b", 6, 1)
    device.turn()
    device.turn()
    assert device.tables == wanted
    assert "b" in device.answers()
