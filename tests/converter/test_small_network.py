"""`edge-convert --from-csv`: from a table to a bundle, without a model and without a word of Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter import Options
from converter.cli import main
from converter.features import training_data
from converter.features.fit import fit_preprocessing
from converter.features.readers import Reading, read_csv
from edge_agent.embed import Learner
from headway.arrays import AnyArray
from headway.errors import ConfigError
from headway.maths import Denoise, Missing, hashed_text

RANDOM = np.random.default_rng(0)


def table(path: Path, count: int = 240) -> Path:
    """Three kinds of machine by two readings, one missing now and then, and a column that never changes."""
    kinds = RANDOM.integers(0, 3, count)
    lines = ["current,temperature,site,kind"]
    for row, kind in enumerate(kinds):
        heat = "" if row % 17 == 0 else f"{40 + 15 * kind + RANDOM.normal(0, 2):.2f}"
        lines.append(f"{5 + 3 * kind + RANDOM.normal(0, 0.5):.3f},{heat},1,{('pump', 'fan', 'mill')[kind]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_becomes_a_bundle_that_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = table(tmp_path / "machines.csv"), tmp_path / "machines.hwb"
    code = main(["--from-csv", str(data), "--label", "kind", "--scale", "robust", "--clip", "1", "--out", str(out)])
    assert code == 0, capsys.readouterr()
    learner = Learner.open(out)
    assert learner.classes == ("fan", "mill", "pump")
    x = np.array([[5, 40, 1], [8, 55, 1], [11, np.nan, 1]], np.float32)
    assert learner.predict(x).tolist() == ["pump", "fan", "mill"]
    learner.learn_many(x, ["pump", "fan", "mill"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-csv", "t.csv", "model.keras", "--out", "o.hwb"], "leave out MODEL and --data"),
        (["--out", "o.hwb"], "give MODEL and --data DATA, or a table alone: --from-csv DATA.csv"),
        (["model.keras", "--out", "o.hwb"], "give MODEL and --data DATA"),
    ],
)
def test_a_table_and_a_model_exclude_each_other(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"denoise": "low-pass"}, "a low or high pass needs a cutoff above 0"),
        ({"cutoff": 0.1}, "nothing else takes one"),
        ({"standardise": True, "scale": "robust"}, "--standardise is --scale standard"),
        ({"text_column": "said", "window": 8}, "--text makes x of one column"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Options(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scale", "middle", "width"),
    [
        ("robust", lambda v: np.median(v), lambda v: np.subtract(*np.quantile(v, (0.75, 0.25)))),
        ("min-max", lambda v: v.min(), lambda v: v.max() - v.min()),
        ("standard", lambda v: v.mean(), lambda v: v.std()),
    ],
)
def test_scaling_is_fitted_on_what_clipping_leaves(scale: str, middle: object, width: object) -> None:
    values = np.concatenate([RANDOM.normal(5, 1, 998), [1e6, -1e6]]).astype(np.float32)[:, None]
    y = np.arange(1000) % 2
    made = fit_preprocessing(training_data(values, y), (1,), Options(scale=scale, clip=1.0))
    low, high = np.quantile(values.astype(np.float64), (0.01, 0.99))
    clipped = np.clip(values[:, 0].astype(np.float64), low, high)
    assert callable(middle)
    assert callable(width)
    expected = (clipped - middle(clipped)) / width(clipped)
    assert made.apply(values)[0][:, 0] == pytest.approx(expected, abs=1e-4)


def test_gaps_and_passes_reach_the_bundle() -> None:
    x = RANDOM.normal(size=(20, 16, 2)).astype(np.float32)
    options = Options(missing="linear", denoise="high-pass", cutoff=0.1)
    made = fit_preprocessing(training_data(x, np.arange(20) % 2), (16, 2), options)
    assert (made.missing, made.denoise, made.cutoff) == (Missing.LINEAR, Denoise.HIGH_PASS, 0.1)


def test_text_of_a_table_is_hashed_as_the_device_hashes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('said,action\n"lights on, please",on\nlights off,off\n')
    read = read_csv(tmp_path / "t.csv", Reading(labels=("action",), text="said"))
    assert (read.x == hashed_text(["lights on, please", "lights off"])).all()
    assert read.y.tolist() == ["on", "off"]


def test_hashed_texts_are_alike_where_words_or_letters_are() -> None:
    def likeness(one: AnyArray, other: AnyArray) -> float:
        return float(one @ other)

    x = hashed_text(["turn the light on", "turn the lights on", "play some jazz", "TURN the LIGHT on!", ""])
    assert likeness(x[0], x[3]) == pytest.approx(1)
    assert likeness(x[0], x[1]) > 0.6 > 0.2 > likeness(x[0], x[2])
    assert not x[4].any()
    # these are the columns of every device that was ever trained so: they must never change
    row = hashed_text(["Licht an!"], 32)[0]
    assert row.nonzero()[0].tolist() == [4, 5, 6, 11, 15, 24, 25, 31]
    assert row[[4, 5, 11]] == pytest.approx([-0.3015, -0.6030, 0.3015], abs=1e-4)
