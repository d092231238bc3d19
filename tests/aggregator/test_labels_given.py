"""Labels of several windows by one command: all or none, each counted once, from the command line and from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.operations import LABELS_MAX
from aggregator.remote_commands import commands_of
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import AUDIT, LABEL_ACTS, SUPPORTED_COMMANDS, SupportedCommandsRow
from aggregator.store.sql import SqlStore


@pytest.fixture
def place(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-7", 0.0, 1.0))
        store.registry.put([RegistryRow("pump-7", 0.0, 1.0)])
        names = json.dumps(["label", "undo-label", "skip-window"])
        store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow("pump-7", names))
    store.close()
    return tmp_path


def label(place: Path, *words: str) -> int:
    return main(["label", "pump-7", *words, "--state-dir", str(place)])


def asked(place: Path) -> list[tuple[str, str, str]]:
    """Window and class of each command to the device, and what is kept as said."""
    store = SqlStore(sqlite_url(place))
    with store.reading():
        rows = [json.loads(row.arguments) for row in commands_of(store, "pump-7")]
        said = {row.window: row.class_name for row in store.rows(LABEL_ACTS).all("pump-7")}
    store.close()
    return [(row["window"], row["class"], said[row["window"]]) for row in rows]


def test_each_window_is_told_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert label(place, "w1=walk", "a=b=run", "w1=walk") == 0
        assert capsys.readouterr().out == (
            "labelled 2 windows of pump-7; pump-7 is told when it is there, `edge-fleet commands pump-7` shows it\n"
        )
    assert asked(place) == [("w1", "walk", "walk"), ("a=b", "run", "run")]
    store = SqlStore(sqlite_url(place))
    with store.reading():
        assert [row.act for row in store.rows(AUDIT).all()][:2] == ["label", "label"]
    store.close()


def test_a_file_is_told_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "labels.csv").write_text('\ufeffwindow,class\r\nw1,walk\r\n\r\n"w,2",to run\r\n', encoding="utf-8")
    assert label(place, "--from", str(place / "labels.csv"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["window"], row["class_name"], row["state"]) for row in told] == [
        ("w1", "walk", "asked"), ("w,2", "to run", "asked")
    ]  # fmt: skip
    assert [row[:2] for row in asked(place)] == [("w1", "walk"), ("w,2", "to run")]


def test_one_window_is_said_as_before(place: Path) -> None:
    assert label(place, "w=1", "walk") == 0
    assert label(place, "w=2", "--skip") == 0
    assert label(place, "w=1", "--undo") == 0
    store = SqlStore(sqlite_url(place))
    with store.reading():
        names = [(row.name, json.loads(row.arguments)["window"]) for row in commands_of(store, "pump-7")]
    store.close()
    assert names == [("label", "w=1"), ("skip-window", "w=2"), ("undo-label", "w=1")]


@pytest.mark.parametrize(
    ("words", "content", "message"),
    [
        (["w1", "walk", "w2"], None, "of several: WINDOW=CLASS WINDOW=CLASS"),
        ([], None, "of several: WINDOW=CLASS WINDOW=CLASS"),
        (["w1=walk", "w1=run"], None, "window 'w1' cannot be 'walk' and 'run'; say one"),
        (["w1=walk", "w2="], None, "window 'w2' came without a class"),
        (["w1=walk", "=run"], None, "'' is no id of a window"),
        (["w1=walk", f"{'w' * 200}=run"], None, "is no id of a window"),
        ([f"w{n}=walk" for n in range(LABELS_MAX + 1)], None, f"give 1 to {LABELS_MAX} labels at once, got 129"),
        (["w1=walk", "--from", "labels.csv"], "window,class\nw1,walk\n", "--from FILE has every window"),
        (["--skip", "--from", "labels.csv"], "window,class\nw1,walk\n", "--from FILE has every window"),
        (["--from", "none.csv"], None, "none.csv: No such file"),
        (["--from", "labels.csv"], "", "must begin with the line window,class"),
        (["--from", "labels.csv"], "w1,walk\n", "it begins with 'w1,walk'"),
        (["--from", "labels.csv"], "window,class\n", "has no labels"),
        (["--from", "labels.csv"], "window,class\nw1,walk\nw2\n", "line 3: 'w2' is no window with a class"),
        (["--from", "labels.csv"], "window,class\nw1,walk\nw2, \n", "line 3: 'w2, ' is no window with a class"),
        (["--from", "labels.csv"], 'window,class\nw1,"walk\n', "line 2"),
        (["--from", "labels.csv"], b"window,class\nw1,\xff\n", "it is no text in UTF-8"),
        (["--from", "labels.csv"], "window,class\n" + "w1,walk\n" * 200_000, "has more than 1,000,000 bytes"),
        (["--from", "labels.csv"], "window,class\nw1,walk\nw2,\x1b[2J\nw1,run\n", "cannot be 'walk' and 'run'"),
    ],
)
def test_of_what_cannot_be_told_nothing_is(
    place: Path, words: list[str], content: str | bytes | None, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    if content is not None:
        (place / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert label(place, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert asked(place) == []


def test_a_full_queue_refuses_all(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert label(place, *[f"w{number}=walk" for number in range(LABELS_MAX - 1)]) == 0
    assert label(place, "x1=walk", "x2=walk") == 2
    assert "128 commands wait for pump-7 already" in capsys.readouterr().err
    assert len(asked(place)) == LABELS_MAX - 1
    assert label(place, "x1=walk") == 0
