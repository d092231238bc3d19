"""`edge-convert --backbone none`: from data alone to a bundle that a device runs without any inference runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import Options, convert
from converter.cli import main
from converter.inspection import inspect_lines
from converter.keys import generate_key
from converter.trainable import write_trainable
from converter.without_backbone import convert_data
from edge_agent import runtime
from edge_agent.commands import examine
from edge_agent.delivery import selftest
from edge_agent.embed import Learner
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle import read_public_key, read_variant
from headway.errors import BundleError, ConfigError, DataError, ModelError
from headway.maths import LogMel, Task, WindowFeatures
from headway.ports import SystemClock
from tests.converter import onnx_models
from tests.converter.test_small_network import table
from tests.edge_agent.test_looking import TOML, Machine

RANDOM = np.random.default_rng(0)


def machines(count: int = 120, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Windows of 48 steps and two channels: three speeds of one machine, whose phase says nothing."""
    random = np.random.default_rng(seed)
    kind = np.arange(count) % 3
    turns = (0.06 + 0.09 * kind)[:, None] * np.arange(48) + random.uniform(0, 1, (count, 1))
    x = np.stack([np.sin(2 * np.pi * turns), random.normal(size=turns.shape)], axis=2)
    return (x + random.normal(0, 0.4, x.shape)).astype(np.float32), kind


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "machines.hwb"
    convert_data(machines(), Options(features=("all",), name="machines"), out=out)
    return out


def test_features_of_windows_are_enough_where_phase_says_nothing(bundle: Path) -> None:
    learner, (x, y) = Learner.open(bundle), machines(60, seed=2)
    assert (learner.predict(x).astype(np.int64) == y).mean() > 0.9
    learner.learn_many(x, y.astype(str))
    assert (learner.predict(x).astype(np.int64) == y).mean() > 0.9


def test_the_device_makes_the_codes_of_the_conversion_to_the_bit(bundle: Path) -> None:
    variant, (x, _) = read_variant(bundle), machines()
    device = Pipeline(variant, open_runtime(variant))
    one_by_one = np.concatenate([device.features(window[None]).codes for window in x])
    assert (one_by_one == device.features(x).codes).all()
    assert (device.features(variant.probe_inputs).embedding == variant.probe_embedding).all()
    assert variant.buffer is not None
    held = {row.tobytes() for row in one_by_one}
    assert all(row.tobytes() in held for row in variant.buffer.values)
    # and the statistics are sums of those codes, so that a device's own may be added
    assert variant.training_statistics.samples == len(x)
    sums = one_by_one.astype(np.int64).sum(axis=0)
    assert (np.asarray(variant.training_statistics.class_sums)[:-1].sum(axis=1) == sums).all()


def test_no_inference_runtime_is_needed_and_every_command_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "ENGINES", {})
    for clock in (None, SystemClock()):
        assert open_runtime(read_variant(bundle), clock).name == "no backbone, NumPy alone"
    found = selftest.examine(bundle, 1, None, SystemClock())
    assert (found.problem, found.runtime, found.space) == ("", "no backbone, NumPy alone", read_variant(bundle).space)
    (tmp_path / "model.hwb").write_bytes(bundle.read_bytes())
    (tmp_path / "agent.toml").write_text(TOML)
    told = {each.check: each.text for each in examine(tmp_path / "agent.toml", SystemClock(), Machine())}
    assert told["runtime"] == "no backbone, NumPy alone, proven on the bundle's probe windows"
    assert "backbone  none: a device needs NumPy alone" in inspect_lines(bundle)


def test_a_device_whose_features_are_others_is_refused_in_one_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.NoRuntime, "embed", lambda self, inputs: inputs * np.float32(1.01))
    with pytest.raises(runtime.RuntimeUnavailableError, match=r"differs from the converter's output .* another NumPy"):
        open_runtime(read_variant(bundle))


def test_values_and_several_labels_are_learned_without_a_network(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(200, 5)).astype(np.float32)
    values = 3 * x[:, 0] - x[:, 3] + 40
    report = convert_data((x, values), Options(), out=tmp_path / "v.hwb")
    assert report.source_accuracy > 0.99
    assert Learner.open(tmp_path / "v.hwb").task is Task.REGRESSION
    several = np.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0], axis=1).astype(np.int64)
    report = convert_data((x, several), Options(), out=tmp_path / "s.hwb")
    assert report.source_accuracy > 0.9
    assert Learner.open(tmp_path / "s.hwb").task is Task.MULTI_LABEL
    one_hot = np.eye(3, dtype=np.int64)[np.argmax(x[:, :3], axis=1)]
    convert_data((x, one_hot), Options(), out=tmp_path / "o.hwb")
    assert Learner.open(tmp_path / "o.hwb").task is Task.CLASSIFICATION


def test_a_table_becomes_a_bundle_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out, key = table(tmp_path / "machines.csv"), tmp_path / "machines.hwb", tmp_path / "signing.pem"
    generate_key(key)
    arguments = ["--from-csv", str(data), "--label", "kind", "--backbone", "none", "--key", str(key)]
    assert main([*arguments, "--out", str(out)]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert "no network: the device makes the same codes, to the bit, and needs no inference runtime" in said
    assert "the head is right on" in said
    variant = read_variant(out, public_key=read_public_key(key.with_suffix(".pem.pub")))
    assert (variant.name, variant.without_backbone) == ("machines", True)
    assert variant.evaluation is not None
    x = np.array([[5, 40, 1], [8, 55, 1], [11, np.nan, 1]], np.float32)
    assert Learner.open(out).predict(x).tolist() == ["pump", "fan", "mill"]
    first = out.read_bytes()
    assert main([*arguments, "--out", str(out)]) == 0
    assert out.read_bytes() == first


def test_names_that_come_once_are_no_classes(tmp_path: Path) -> None:
    rows = "".join(f"{number},order {number}\n" for number in range(40))
    (tmp_path / "t.csv").write_text(f"a,label\n{rows}")
    with pytest.raises(DataError, match="'label' holds 40 different names in 40 rows, such as 'order 0': nothing is"):
        convert_data(tmp_path / "t.csv", Options(), out=tmp_path / "o.hwb")
    assert not (tmp_path / "o.hwb").exists()


def test_other_features_are_another_space(bundle: Path, tmp_path: Path) -> None:
    spaces = {read_variant(bundle).space}
    for place, features in enumerate((("mean", "std"), ("std", "mean"), ("none",))):
        out = tmp_path / f"{place}.hwb"
        convert_data(machines(), Options(features=features, expand=0), out=out)
        spaces.add(read_variant(out).space)
    assert len(spaces) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ("mean", "all")}, "give none or all alone"),
        ({"features": ("mean",), "front_end": "mfcc"}, "both make x"),
        ({"hop": 100}, "--hop belong to a front end"),
        ({"front_end": "log-mel", "rate_hz": 8000.0}, "--high-hz 7600: at --rate 8000 .* give --high-hz 4000 or less"),
        ({"front_end": "mfcc", "low_hz": 500.0, "high_hz": 400.0}, "--low-hz 500 is not below --high-hz 400"),
        ({"stride": 4}, "--stride 4 without --window"),
        ({"backbone": "nothing"}, "--backbone 'nothing' is unknown"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (machines(9), Options(features=("all",)), "needs 10 at least"),
        (machines(), Options(quantize=("int8",)), "--quantize with --backbone none: there is no network"),
        (machines(), Options(drop_points_max=2.0), "--max-drop with --backbone none"),
        (machines(), Options(front_end="log-mel"), r"--front-end log-mel: windows of shape \(48, 2\) are no sound"),
        ((np.zeros((20, 5000)) + np.arange(20)[:, None], np.arange(20) % 2), Options(), "more than a device sums over"),
    ],
)
def test_what_cannot_be_is_one_line(data: Any, options: Options, message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        convert_data(data, options, out=tmp_path / "b.hwb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.keras", "--data", "d.npz", "--backbone", "none"], "leave out MODEL"),
        (["--data", "d.npz"], "give MODEL and --data DATA"),
        (["--from-csv", "{table}", "--label", "kind", "--features", "mean", "--backbone", "none"], "give --window N"),
    ],
)
def test_the_command_says_what_is_missing(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    csv = table(tmp_path / "t.csv")
    given = [word.replace("{table}", str(csv)) for word in arguments]
    assert main([*given, "--out", str(tmp_path / "o.hwb")]) != 0
    assert message in capfd.readouterr().err


def test_a_front_end_comes_before_a_network_and_is_the_same_on_the_device(tmp_path: Path) -> None:
    """An ONNX network over two frames of three coefficients: 6 values."""
    front_end = LogMel(rate_hz=1000, frame=32, hop=16, fft=32, bands=6, low_hz=10, high_hz=400, coefficients=3)
    sound = RANDOM.normal(0, 0.2, (60, 48)).astype(np.float32)
    options = Options(
        formats=("onnx",), front_end="mfcc", rate_hz=1000, frame=32, hop=16, bands=6, low_hz=10, high_hz=400,
        coefficients=3, scale="standard", expand=0,
    )  # fmt: skip
    convert(onnx_models.torch_like(tmp_path), (sound, np.arange(60) % 3), options, out=tmp_path / "b.hwb")
    variant = read_variant(tmp_path / "b.hwb")
    pre = variant.preprocessing
    assert (pre.front_end, pre.input_shape, pre.output_shape) == (front_end, (48,), (6,))
    plain = front_end.apply(sound).reshape(-1, 3)
    assert pre.offset == pytest.approx(plain.mean(axis=0), abs=1e-5)
    device = Pipeline(variant, open_runtime(variant))
    scaled = ((front_end.apply(sound[:1]) - pre.offset) * pre.gain).reshape(1, 6)
    expected = onnx_models.hidden(scaled, onnx_models.weights())
    assert device.features(sound[:1]).embedding == pytest.approx(expected, abs=1e-4)
    with pytest.raises(
        ConfigError, match=r"--features mean: preprocessing makes \(1,\) .* does not fit a shape \(6,\)"
    ):
        convert(tmp_path / "torch.onnx", (sound, np.arange(60) % 3), Options(formats=("onnx",), features=("mean",)),
                out=tmp_path / "c.hwb")  # fmt: skip


def test_a_trainable_file_refuses_a_front_end_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--front-end cannot go into a trainable .tflite; leave out"):
        write_trainable("m.keras", machines(), tmp_path / "t.tflite", Options(front_end="log-mel"))
    with pytest.raises(ConfigError, match="--features cannot go into a trainable"):
        write_trainable("m.keras", machines(), tmp_path / "t.tflite", Options(features=("mean",)))


def test_a_wav_of_another_rate_is_named(tmp_path: Path) -> None:
    import wave

    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        with wave.open(str(tmp_path / "d" / name / "1.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(4000))
    with pytest.raises(DataError, match="has 8000 samples a second, the front end 16000; give --rate 8000"):
        convert_data(tmp_path / "d", Options(front_end="log-mel"), out=tmp_path / "o.hwb")


def test_a_stream_of_another_rate_is_named(tmp_path: Path) -> None:
    stream = tmp_path / "stream.toml"
    stream.write_text('rate_hz = 8000.0\nlength = 48\nhop = 48\nchannels = [{name = "sound"}]\n')
    with pytest.raises(ConfigError, match=r"has 8000 rows a second, the front end 16000; give --rate 8000"):
        convert_data(machines(), Options(front_end="log-mel", stream=stream), out=tmp_path / "o.hwb")


def test_a_bundle_whose_codes_were_others_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = WindowFeatures.apply
    seen: list[int] = []

    def drifting(self: WindowFeatures, windows: Any) -> Any:
        seen.append(len(windows))
        return honest(self, windows) + (0.5 if len(windows) == 1 and len(seen) > 3 else 0.0)

    monkeypatch.setattr(WindowFeatures, "apply", drifting)
    with pytest.raises(ModelError, match="codes of the written bundle differ"):
        convert_data(machines(), Options(features=("mean", "std")), out=tmp_path / "b.hwb")
    assert not (tmp_path / "b.hwb").exists()


def test_a_page_that_cannot_be_written_shows_before_the_bundle_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match="jinja2"):
        convert_data(machines(), Options(html=tmp_path / "page.html"), out=tmp_path / "b.hwb")
    assert not list(tmp_path.iterdir())


def test_what_is_torn_or_forged_is_refused_as_ever(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.hwb").write_bytes(bundle.read_bytes()[:-100])
    with pytest.raises(BundleError, match="truncated"):
        read_variant(tmp_path / "torn.hwb")
