"""`edge-agent replay --report` shows a recording beside rules without a model, and names columns that leak."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import Options, convert_data
from edge_agent.commands import Extras, charts, replay, replay_recording
from edge_agent.commands.replay_findings import (
    COLUMNS_MAX,
    WIDE_MAX,
    answer_alone,
    leaking_columns,
    losses,
    naive_rules,
)
from edge_agent.learner_settings import LearnerSettings
from headway.arrays import AnyArray
from headway.errors import DataError
from headway.maths import Task, TimeAxis
from headway.tables import Columns
from tests.edge_agent.variants import IdentityRuntime, variant, windows


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(replay, "open_runtime", lambda variant: IdentityRuntime())
    path = tmp_path / "model.hwb"
    variant().write(path)
    return path


def test_windows_and_labels_of_two_npy_files_give_a_page(bundle: Path, tmp_path: Path) -> None:
    x, y = windows(300, drift=1.0, seed=1)
    np.save(tmp_path / "data.npy", x)
    np.save(tmp_path / "labels.npy", y)
    np.savez(tmp_path / "peer.npz", prediction=y)
    page = tmp_path / "page.html"
    extras = Extras(tmp_path / "labels.npy", report=page, peer=tmp_path / "peer.npz")
    result = replay_recording(bundle, tmp_path / "data.npy", None, LearnerSettings(), extras=extras)
    assert result["rows"] == 300
    text = page.read_text()
    assert not any(word in text for word in ("<script", "http"))
    for part in ("Error over the recording", "Confusion", "Calibration", "By class", "the last label again", "peer"):
        assert part in text
    # as far as the peer knows everything, it is never wrong
    assert "<td>peer</td><td>0</td><td>0</td>" in text


def test_a_page_is_the_same_whoever_asks_for_answers_too(bundle: Path, tmp_path: Path) -> None:
    x, y = windows(120, drift=1.0, seed=2)
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    plain = replay_recording(bundle, tmp_path / "stream.npz", tmp_path / "a.npz", LearnerSettings())
    extras = Extras(report=tmp_path / "page.html")
    shown = replay_recording(bundle, tmp_path / "stream.npz", tmp_path / "b.npz", LearnerSettings(), extras=extras)
    assert shown == plain
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "give those of its rows: --labels FILE.npy"), (np.zeros(3, np.int64), "one label for each of the 40")],
)
def test_windows_without_their_labels_are_refused(
    bundle: Path, tmp_path: Path, labels: AnyArray | None, message: str
) -> None:
    np.save(tmp_path / "data.npy", windows(40, drift=0.0, seed=0)[0])
    if labels is not None:
        np.save(tmp_path / "labels.npy", labels)
    extras = Extras(None if labels is None else tmp_path / "labels.npy", report=tmp_path / "page.html")
    with pytest.raises(DataError, match=message):
        replay_recording(bundle, tmp_path / "data.npy", None, LearnerSettings(), extras=extras)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        ("none.npy", "data.npy", "cannot read .*none.npy: No such file or directory; check the path"),
        ("data.npy", "none.npy", "cannot read .*none.npy: No such file or directory; check the path"),
        ("data.npy", "folder.npy", "folder.npy is no regular file"),
        ("empty.npy", "data.npy", r"\(0, 8\); it must be numbers of shape \(n, ...\), of one window at least"),
    ],
)
def test_files_that_hold_no_windows_are_refused_in_a_line(
    bundle: Path, tmp_path: Path, data: str, labels: str, message: str
) -> None:
    (tmp_path / "folder.npy").mkdir()
    np.save(tmp_path / "data.npy", np.zeros((2, 8), np.float32))
    np.save(tmp_path / "empty.npy", np.zeros((0, 8), np.float32))
    with pytest.raises(DataError, match=message):
        replay_recording(bundle, tmp_path / data, None, LearnerSettings(), extras=Extras(tmp_path / labels))


def test_figures_of_classes_are_those_of_the_answers(bundle: Path, tmp_path: Path) -> None:
    """Answers follow what lasts, which the head's own figures know nothing of."""
    x = windows(200, drift=1.0, seed=5)[0]
    np.savez(tmp_path / "stream.npz", x=x, y=np.zeros(200, np.int64))
    extras = Extras(report=tmp_path / "page.html")
    found: Any = replay_recording(bundle, tmp_path / "stream.npz", tmp_path / "a.npz", LearnerSettings(), extras=extras)
    with np.load(tmp_path / "a.npz") as answers:
        right = (answers["prediction"] == 0).mean()
    assert found["answered"]["accuracy"] == right != found["served"]["accuracy"]
    assert f"<td>idle</td><td>1</td><td>{right:.4g}</td>" in (tmp_path / "page.html").read_text()


def table(path: Path, head: str = "a,b,c,d,e,f,g,h,kind") -> Path:
    """Windows of 8 values as a table, their kind by name."""
    x, y = windows(60, drift=1.0, seed=3)
    kinds = ("idle", "walk", "run")
    rows = [",".join([*map(str, row), kinds[label]]) for row, label in zip(x.tolist(), y.tolist(), strict=True)]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_a_later_table_is_replayed_as_the_first_was_converted(bundle: Path, tmp_path: Path) -> None:
    extras = Extras(columns=Columns(labels=("kind",)), report=tmp_path / "page.html")
    shown = replay_recording(bundle, table(tmp_path / "later.csv"), None, LearnerSettings(), extras=extras)
    x, y = windows(60, drift=1.0, seed=3)
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    plain = replay_recording(bundle, tmp_path / "stream.npz", tmp_path / "a.npz", LearnerSettings())
    assert shown == plain
    text = (tmp_path / "page.html").read_text()
    assert "Confusion" in text
    assert "<td>a</td>" in text  # columns by the names of the table


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(), "none called label; name the one with y: --label COLUMN"),
        (Columns(("kind",), ("a", "b")), r"float32 \(60, 2\), the bundle takes \(n, 8\); name the columns of x"),
        (Columns(("h",), ("a",)), "the bundle takes"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(bundle: Path, columns: Columns, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        replay_recording(bundle, table(tmp_path / "t.csv"), None, LearnerSettings(), extras=Extras(columns=columns))


@pytest.mark.parametrize(
    ("value", "in_words", "beside_an_axis"),
    [
        (0.123456, "0.1235", "0.123"), (100.0, "100", "100"), (999.7, "999.7", "1,000"), (-1234.5, "-1,234", "-1,234"),
        (123_456, "123,456", "1.23e+05"), (1e15, "1e+15", "1e+15"), (float("nan"), "-", "nan"),
    ],
)  # fmt: skip
def test_figures_are_written_as_people_write_them(value: float, in_words: str, beside_an_axis: str) -> None:
    assert (charts.shown(value), charts.short(value)) == (in_words, beside_an_axis)
    drawn = charts.lines({"served": np.zeros(2)}, "rows", (), (0.0, value))
    assert np.isnan(value) or f">{in_words}</text>" in drawn


Answerer = Callable[[AnyArray], AnyArray]
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.integers(0, 2, 400)
HONEST = (TRUTH[:, None] + RANDOM.normal(0, 1.2, (400, 4))).astype(np.float32)  # four causes, none enough alone


def planted(*places: int, noise: float = 0.05) -> AnyArray:
    """The honest columns, some of them copies of the label."""
    x = HONEST.copy()
    x[:, list(places)] = TRUTH[:, None] + RANDOM.normal(0, noise, (400, len(places)))
    return x


def from_all(rows: AnyArray) -> AnyArray:
    """What a learner would do: a column counts the more, the less it errs."""
    weights = 1 / np.square(rows - TRUTH[: len(rows), None]).mean(axis=0)
    return (rows @ (weights / weights.sum()) > 0.5).astype(np.int64)


def from_third(rows: AnyArray) -> AnyArray:
    return (rows[:, 2] > 0.5 + 1e-9).astype(np.int64)


@pytest.mark.parametrize(
    ("x", "answer", "knows", "suspicious"),
    [
        (HONEST, from_all, [], []),
        (planted(2), from_third, [2], [2]),  # nothing else is used
        (planted(2), from_all, [2], []),  # the other columns would do without it, but worse
        (planted(1, 2), from_all, [1, 2], []),  # each does without the other
        (np.hstack([HONEST, np.zeros((400, 50), np.float32), planted(0)[:, :1]]), from_all, [54], [54]),  # of many
    ],
)
def test_a_column_that_knows_the_answer_is_found(
    x: AnyArray, answer: Answerer, knows: list[int], suspicious: list[int]
) -> None:
    found = leaking_columns(x, TRUTH, Task.CLASSIFICATION, TimeAxis.FIRST, lambda rows, labels: answer(rows))
    assert sorted(column.number for column in found.tried if column.knows) == knows
    assert [column.number for column in found.tried if column.suspicious] == suspicious
    assert (found.count, len(found.tried)) == (x.shape[1], x.shape[1] if x.shape[1] <= COLUMNS_MAX else WIDE_MAX)


def test_a_channel_alone_answers_from_the_other_half_by_its_mean_or_its_deviation() -> None:
    y = np.repeat(np.arange(10) % 2, 40)
    clock = np.arange(400, dtype=np.float32)  # rows beside each other have one label, and say nothing of the others
    assert (answer_alone(clock, y, Task.CLASSIFICATION) == y).mean() < 0.6
    loud = RANDOM.normal(0, 1 + y[:, None], (400, 64)).astype(np.float32)
    loud[7] = np.nan
    assert (answer_alone(loud, y, Task.CLASSIFICATION) == y).mean() > 0.95
    values = RANDOM.normal(size=(400, 1)).astype(np.float32)
    values[::7] = np.nan
    near = losses(answer_alone(values[:, 0] * 3 + 1, values, Task.REGRESSION), values, Task.REGRESSION)
    assert np.nanmean(near) < 0.1


def test_nothing_is_said_of_columns_where_nothing_is_gained() -> None:
    y = np.random.default_rng(0).integers(0, 2, 200)
    x = np.zeros((200, 3), np.float32)
    guesses = np.random.default_rng(1).integers(0, 2, 200)
    for rows, why in ((x, "no clear gain"), (x[:, :1], "there is only one")):
        found = leaking_columns(rows, y, Task.CLASSIFICATION, TimeAxis.FIRST, lambda rows, labels: guesses)
        assert (found.tried, why in found.why_not) == ((), True)


def test_naive_rules_know_only_labels_before_the_row() -> None:
    rules = naive_rules(np.array([2, -1, 1, 1, 1]), Task.CLASSIFICATION)
    assert rules["the last label again"].tolist() == [0, 2, 2, 1, 1]
    assert rules["the most frequent label so far"].tolist() == [0, 2, 2, 1, 1]
    values = np.array([[2.0], [np.nan], [4.0], [0.0]], np.float32)
    rules = naive_rules(values, Task.REGRESSION)
    assert rules["the mean so far"].ravel().tolist() == [0, 2, 2, 3]
    assert losses(rules["the last value again"], values, Task.REGRESSION)[[0, 2, 3]].tolist() == [2, 2, 4]


def test_replay_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "replay", "a.hwb", "b.npz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert ["--out" in line and "--report" in line for line in done.stderr.splitlines()] == [True]


def classes_that_come(folder: Path, count: int = 96) -> AnyArray:
    """A later table whose columns come in another order, with one more; and a class that the bundle does not know."""
    x, y = windows(count, drift=0.0, seed=4)
    x[60:] = -x[60:] - 3
    kinds = np.array(["idle", "walk", "run"])[y]
    kinds[60:] = "fall"
    kinds[5] = ""
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    rows = [",".join([*map(str, row[order]), str(number), kind])
            for number, (row, kind) in enumerate(zip(x, kinds, strict=True))]  # fmt: skip
    head = ",".join(["abcdefgh"[place] for place in order] + ["number", "kind"])
    (folder / "later.csv").write_text("\n".join([head, *rows]) + "\n")
    return x


def test_columns_are_found_by_name_and_a_class_may_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "open_runtime", lambda variant: IdentityRuntime())
    dataclasses.replace(variant(), report={"columns": list("abcdefgh")}).write(tmp_path / "model.hwb")
    x = classes_that_come(tmp_path)
    extras = Extras(columns=Columns(labels=("kind",)), report=tmp_path / "page.html")
    with pytest.raises(DataError, match="label 'fall' of sample 60 is no class"):
        replay_recording(tmp_path / "model.hwb", tmp_path / "later.csv", None, LearnerSettings(), extras=extras)
    settings = LearnerSettings(new_classes=True)
    out = tmp_path / "answers.npz"
    result = replay_recording(tmp_path / "model.hwb", tmp_path / "later.csv", out, settings, extras=extras)
    assert (result["rows"], result["labels"]) == (len(x), len(x) - 1)
    with np.load(out) as answers:
        assert answers["probability"].shape == (len(x), 4)
        # unknown until its first labels are learned, then found
        assert not answers["probability"][:60, 3].any()
        assert (answers["prediction"][-8:] == 3).all()
    assert "<td>fall</td>" in (tmp_path / "page.html").read_text()


def test_what_a_table_was_made_of_need_not_be_said_again(tmp_path: Path) -> None:
    """Its label, its texts; and classes that are called by numbers are not taken for their places."""
    rows = [f"lights {place} {number},{10 * place}" for number, place in enumerate([1, 2, 3] * 8)]
    (tmp_path / "t.csv").write_text("\n".join(["said,kind", *rows]))
    options = Options(label_columns=("kind",), text_column="said")
    convert_data(tmp_path / "t.csv", options, out=tmp_path / "t.hwb", table=True)
    (tmp_path / "later.csv").write_text("\n".join(["kind,when,said", "10,3,lights 1", "30,4,lights 3", ",5,lights 2"]))
    extras = Extras(report=tmp_path / "page.html")
    found = replay_recording(tmp_path / "t.hwb", tmp_path / "later.csv", None, LearnerSettings(), extras=extras)
    assert (found["rows"], found["labels"]) == (3, 2)
    assert "not tried: x is hashed texts" in (tmp_path / "page.html").read_text()
    (tmp_path / "later.csv").write_text("kind,said\n10,lights 1\n1,lights 2\n")  # 1 is a place, and no class
    with pytest.raises(DataError, match="label '1' of sample 1 is no class"):
        replay_recording(tmp_path / "t.hwb", tmp_path / "later.csv", None, LearnerSettings(), extras=extras)
