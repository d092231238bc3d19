"""edge-agent try: a bundle's answers on a command's rows, stdin or a file, and what stands in the way in one line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.cli import main
from edge_agent.commands import try_model
from edge_agent.source_settings import FORMATS
from headway.stream import Channel, StreamFormat
from tests.edge_agent.variants import CLASSES, SIZE, IdentityRuntime, variant, windows
from tests.optional import when_used

STREAM = StreamFormat((Channel("level"),), rate_hz=100.0, length=SIZE, hop=SIZE)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(try_model, "open_runtime", lambda variant: IdentityRuntime())
    replace(variant(), stream=STREAM).write(tmp_path / "model.hwb")
    return tmp_path / "model.hwb"


def rows(path: Path, count: int) -> tuple[str, list[str]]:
    """A command that prints the rows of so many windows, and the classes of these."""
    x, y = windows(count, seed=5)
    times_s = np.arange(x.size) / 100.0
    path.write_text("".join(f"{time},{value}\n" for time, value in zip(times_s, x.ravel().tolist(), strict=True)))
    return f"{sys.executable} -c \"print(open('{path}').read())\"", [CLASSES[label] for label in y]


def test_live_windows_of_a_command_are_answered(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, classes = rows(tmp_path / "rows.csv", 8)
    arguments = ["try", str(model), "--sensor", command, "--channels", "time,level", "--time", "time", "--count", "7"]
    assert main(arguments) == 0
    head, *answers = capsys.readouterr().out.splitlines()
    assert head.startswith("walk 1.0.0 on identity")
    assert [line.split()[1] for line in answers] == classes[:7], "the frozen head is right where nothing has drifted"
    assert not [path.name for path in tmp_path.iterdir() if path.name not in ("model.hwb", "rows.csv")]


def test_objects_within_objects_and_other_units_are_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a sensor's driver prints them."""
    volts = replace(STREAM, channels=(Channel("level", "V"),))
    replace(variant(), stream=volts).write(model)
    x, y = windows(4, seed=5)
    lines = [f'{{"probe": {{"level": {1000 * value}}}}}\n' for value in x.ravel().tolist()]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    command = f"{sys.executable} -c \"print(open('{tmp_path / 'rows.jsonl'}').read())\""
    arguments = ["try", str(model), "--sensor", command, "--format", "json", "--rate", "100", "--count", "3"]
    assert main([*arguments, "--channels", "level", "--paths", "probe.level", "--units", "mV"]) == 0
    _, *answers = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in answers] == [CLASSES[label] for label in y[:3]]


def test_a_file_of_windows_needs_no_stream(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variant().write(model)
    x, y = windows(3, seed=6)
    np.savez(tmp_path / "some.npz", x=x)
    assert main(["try", str(model), "--sensor", str(tmp_path / "some.npz")]) == 0
    _, *answers, end = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in answers] == [CLASSES[label] for label in y]
    assert end.endswith("has ended")
    assert main(["try", str(model), "--sensor", "true"]) == 2
    assert "convert it with --stream" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sensor", "code", "said"), [("no-such-program", 3, "cannot start"), ("true", 3, "ended"), ("'", 2, "--sensor")]
)
def test_a_sensor_that_gives_nothing_is_one_line(
    model: Path, sensor: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["try", str(model), "--sensor", sensor]) == code
    assert said in capsys.readouterr().err


def test_rows_may_be_written_as_those_of_any_source_but_pictures(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in FORMATS:
        if kind != "ppm":
            assert main(["try", str(model), "--sensor", "true", "--format", kind]) == 3
            assert "'true' ended with status 0" in capsys.readouterr().err


def test_a_model_that_cannot_be_converted_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keras, words = tmp_path / "model.keras", ["--sensor", "true"]
    assert main(["try", str(keras), *words]) == 2
    assert "does not exist; give a bundle" in capsys.readouterr().err
    keras.write_bytes(b"no model")
    assert main(["try", str(keras), *words]) == 2
    assert "give --data TRAINING.npz" in capsys.readouterr().err
    monkeypatch.setattr(try_model.shutil, "which", lambda name, path: None)
    assert main(["try", str(keras), *words, "--data", "train.npz"]) == 2
    said = capsys.readouterr().err
    assert "edge-convert is not installed here; pip install 'headway[converter]'" in said
    assert f"edge-convert {keras} --data train.npz on another machine" in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_keras_file_goes_through_the_converter_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keras = when_used("keras")
    x, y = windows(60, seed=3)
    layers = [keras.Input((SIZE,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(len(CLASSES), "softmax")]
    model = keras.Sequential(layers)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "train.npz", x=x, y=y, classes=np.array(CLASSES))
    np.savez(tmp_path / "some.npz", x=x[:4])
    words = ["--data", str(tmp_path / "train.npz"), "--sensor", str(tmp_path / "some.npz")]
    assert main(["try", str(tmp_path / "model.keras"), *words]) == 0
    _, *answers, end = capsys.readouterr().out.splitlines()
    expected = np.asarray(model(x[:4])).argmax(axis=1)
    assert [line.split()[1] for line in answers] == [CLASSES[label] for label in expected]
    assert end.endswith("has ended")
    (tmp_path / "bad.keras").write_bytes(b"no model")
    assert main(["try", str(tmp_path / "bad.keras"), *words]) == 4
    assert "edge-convert cannot convert" in capsys.readouterr().err
