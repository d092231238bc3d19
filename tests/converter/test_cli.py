"""The command on ONNX models, which need no TensorFlow: options, exit codes, refusals, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import headway
from converter.cli import main
from headway.bundle.variant import read_variant
from tests.converter.onnx_models import CLASSES, data, torch_like
from tests.nightly import nightly
from tests.system.conftest import BIN

pytest.importorskip("onnxruntime", reason="the converter extra is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: torch.onnx, train.npz, and a signing key."""
    x, y = data(120)
    torch_like(tmp_path)
    np.savez(tmp_path / "train.npz", x=x, y=y, classes=np.array(CLASSES))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edge_convert(*arguments: str) -> int:
    """In this process; --verbose leaves its descriptors alone."""
    return main(["torch.onnx", "--data", "train.npz", "--out", "m.hwb", "--verbose", *arguments])


def refused(capsys: pytest.CaptureFixture[str], code: int, exit_code: int) -> str:
    said = capsys.readouterr().err
    assert code == exit_code
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_every_option_arrives_in_the_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "k.pem"]) == 0
    assert oct((folder / "k.pem").stat().st_mode & 0o777) == "0o600"
    code = edge_convert(
        "--model-version", "1.4.0", "--release", "7", "--id", "net", "--quantize", "none,int8", "--max-drop", "10",
        "--missing", "median", "--standardise", "--select", "5", "--select-by", "mutual-information", "--expand", "16",
        "--expand-input", "--buffer", "5", "--evaluation", "12", "--licence", "CC0-1.0", "--provenance", "by hand",
        "--key", "k.pem", "--html", "report.html", "--seed", "2",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    variant = read_variant(folder / "m.hwb")
    assert (variant.name, variant.version, variant.release) == ("net", "1.4.0", 7)
    assert (variant.licence, variant.provenance) == ("CC0-1.0", "by hand")
    assert variant.features.size == 5 + 16
    assert variant.features.expansion is not None
    assert variant.features.expansion.of_input
    assert variant.preprocessing.gain is not None
    assert variant.buffer is not None
    assert variant.evaluation is not None
    assert len(variant.evaluation.values) == 12
    assert np.bincount(variant.buffer.labels).max() == 5
    assert "<svg" in (folder / "report.html").read_text()
    assert main(["verify", "m.hwb", "--pubkey", "k.pem.pub", "--release-min", "7"]) == 0
    assert "net 1.4.0, release 7: whole, signature valid" in capsys.readouterr().out
    assert main(["inspect", "m.hwb"]) == 0
    shown = capsys.readouterr().out
    assert "signed" in shown
    assert "onnxruntime >= 1.12" in shown


def test_progress_and_table_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edge_convert() == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("  loading and cutting the model ... ")
    assert any(line.startswith("  onnx float32     onnxruntime") and "100.00%" in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--pca", "50"], 2, "50 features were asked for, the embedding has 8; give fewer"),
        (["--pca", "3", "--select", "3"], 2, "exclude each other"),
        (["--expand", "many"], 2, "invalid value for '--expand': 'many' must be a whole number or auto"),
        (["--expand", "-1"], 2, "invalid value for '--expand': '-1' must be"),
        (["--expand", "5000"], 2, "5008 features are more than a device sums over (at most 4096)"),
        (["--quantize", "int4"], 2, "--quantize 'int4' is unknown; did you mean 'int8'?"),
        (["--quantize", "float16"], 2, "ONNX backbones come as --quantize none or int8"),
        (["--formats", "tflite"], 2, "ONNX backbones only, not tflite"),
        (["--release", "-1"], 2, "--release -1 must be"),
        (["--max-drop", "nan"], 2, "--max-drop nan must be from 0 to 100 points"),
        (["--min-agreement", "101"], 2, "--min-agreement 101.0 must be from 0 to 100 percent"),
        (["--missing", "zero"], 2, "--missing 'zero' is unknown"),
        (["--missing", "last"], 2, "have no time axis"),
        (["--denoise", "ewma"], 2, "have no time axis"),
        (["--id", "a\nb"], 2, "holds characters that cannot be shown"),
        (["--licence", "x" * 5000], 2, "--licence has 5000 characters; at most 4096"),
        (["--key", "gone.pem"], 2, "cannot read signing key gone.pem"),
        (["--key", "train.npz"], 2, "train.npz is not a private key"),
        (["--html", "gone/r.html"], 2, "cannot write gone/r.html: folder gone does not exist"),
        (["--colour"], 2, "no such option '--colour'"),
        (["--cut", "/fc9/Gemm"], 4, "named '/fc9/Gemm'"),
        (["--trainable"], 4, "made from Keras models and SavedModels, not from ONNX"),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_written(
    folder: Path, arguments: list[str], exit_code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert message in refused(capsys, edge_convert(*arguments), exit_code)
    assert sorted(folder.iterdir()) == before


X, Y = data(40)
MISSING_SAMPLE = X.copy()
MISSING_SAMPLE[3] = np.nan
DATA = {
    "empty": (X[:0], Y[:0], CLASSES, "holds no sample"),
    "wrong-shape": (X[:, :4], Y, CLASSES, "x is float32 (40, 4); the model takes (n, 6)"),
    "text": (X.astype(str), Y, CLASSES, "it must be numbers"),
    "all-nan": (MISSING_SAMPLE, Y, CLASSES, "sample 3 has no finite value; remove it"),
    "label-outside": (X, np.where(np.arange(40) == 7, 9, Y), CLASSES, "label 9 of sample 7 is outside -1..2"),
    "label-missing": (X, np.where(np.arange(40) == 7, -1, Y), CLASSES, "sample 7 has no label"),
    "label-nan": (X, np.where(np.arange(40) == 7, np.nan, Y), CLASSES, "labels are class indices"),
    "label-of-no-class": (X, np.full(40, "jump"), CLASSES, "label 'jump' of sample 0 is no class"),
    "one-class": (X, np.zeros(40, int), CLASSES, "all samples are of class 'idle'"),
    "too-few-labels": (X, Y[:9], CLASSES, "it must hold one label for each of the 40 samples"),
    "same-name-twice": (X, Y, ("a", "a", "b"), "classes must be different, non-empty names"),
    "several-values": (X, np.eye(3)[Y] + 0.25, ("a", "b"), "must hold 2 values for each"),
    "value-nan": (X, np.where(np.arange(40) == 7, np.nan, Y + 0.5), ("a",), "y of sample 7 is not finite"),
}


@pytest.mark.parametrize("case", DATA)
def test_unusable_data_is_refused(folder: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    x, y, classes, message = DATA[case]
    np.savez(folder / "train.npz", x=x, y=y, classes=np.array(classes))
    assert message in refused(capsys, edge_convert(), 3)
    assert not (folder / "m.hwb").exists()


def test_another_number_of_classes_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(folder / "train.npz", x=X, y=Y, classes=np.array(["a", "b", "c", "d"]))
    assert "has 3 outputs, the data names 4 classes" in refused(capsys, edge_convert(), 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.onnx", None, "does not exist"),
        ("m.tflite", b"x", "ends in .tflite; give a .keras, .h5, .onnx or SavedModel folder"),
        ("m", b"x", "ends in nothing; give"),
        ("bad.onnx", b"no", "is not a valid ONNX model"),
        ("bad.keras", b"no", "is not a .keras file, which is a zip archive"),
    ],
)
def test_a_model_that_is_none_is_refused(
    folder: Path, name: str, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    code = main([name, "--data", "train.npz", "--out", "m.hwb", "--verbose"])
    assert message in refused(capsys, code, 4)
    assert not (folder / "m.hwb").exists()


def test_a_folder_that_is_no_model_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    code = main(["empty", "--data", "train.npz", "--out", "m.hwb", "--verbose"])
    assert "holds no saved_model.pb" in refused(capsys, code, 4)


def test_keys_and_bundles_that_do_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edge_convert() == 0
    assert main(["keygen", "k.pem"]) == 0
    capsys.readouterr()
    assert "k.pem exists already" in refused(capsys, main(["keygen", "k.pem"]), 2)
    assert "is not signed" in refused(capsys, main(["verify", "m.hwb", "--pubkey", "k.pem.pub"]), 5)
    assert "is a private key; give the .pub" in refused(capsys, main(["verify", "m.hwb", "--pubkey", "k.pem"]), 2)
    assert "release 1 is older than 2" in refused(capsys, main(["verify", "m.hwb", "--release-min", "2"]), 5)
    assert "not a Headway bundle" in refused(capsys, main(["inspect", "train.npz"]), 5)
    assert "missing argument 'FILE'; see edge-convert verify --help" in refused(capsys, main(["verify"]), 2)


@pytest.mark.parametrize("features", [["--expand", "8"], nightly(["--pca", "4"]), nightly(["--select", "4"])])
def test_two_processes_write_the_same_bytes(folder: Path, features: list[str]) -> None:
    for seed, threads, name in (("0", "1", "a.hwb"), ("1", "2", "b.hwb")):
        command = [str(BIN / "edge-convert"), "torch.onnx", "--data", "train.npz", "--out", name, *features]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": threads}
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert result.returncode == 0, result.stderr
    assert (folder / "a.hwb").read_bytes() == (folder / "b.hwb").read_bytes()


@pytest.mark.parametrize("arguments", [["--version"], ["--program-version"], ["torch.onnx", "--version"]])
def test_the_programs_version_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"edge-convert {headway.__version__}\n"


@pytest.mark.parametrize("given", [["--version", "3"], ["--version=3"]])
def test_a_value_for_the_programs_version_names_the_option_for_the_models(
    folder: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, edge_convert(*given), 2)
    assert "--version takes no value, got '3'" in said
    assert "--model-version" in said
    assert refused(capsys, main(given), 2) == said
    assert not (folder / "m.hwb").exists()


def test_the_report_comes_as_json_and_nothing_else_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["torch.onnx", "--data", "train.npz", "-o", "short.hwb", "--json", "--verbose"])
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert (code, report["bundle"], report["classes"]) == (0, "short.hwb", list(CLASSES))
    assert report["proofs"][0]["runtime"] == "onnxruntime"
    assert "loading and cutting the model" in told.err


def test_a_table_is_taken_as_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [",".join([*(f"{value:.6f}" for value in x), CLASSES[y]]) for x, y in zip(*data(120), strict=True)]
    (folder / "t.csv").write_text("\n".join(["a,b,c,d,e,f,what", *rows]))
    files = ["torch.onnx", "--data", "t.csv", "-o", "m.hwb", "--verbose"]
    assert main([*files, "--label", "what"]) == 3
    assert "another order of classes" in capsys.readouterr().err
    assert main([*files, "--label", "what", "--classes", ",".join(CLASSES)]) == 0
    assert read_variant(folder / "m.hwb").classes == CLASSES


def test_an_interruption_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["converter.convert"], "convert", interrupted)
    assert edge_convert() == 130
    assert capsys.readouterr().err == "\ninterrupted; nothing was written\n"


def test_what_nobody_foresaw_is_one_line_and_a_traceback_only_when_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*given: object, **options: object) -> None:
        raise ZeroDivisionError("of\ntwo lines")

    monkeypatch.setattr(sys.modules["converter.convert"], "convert", broken)
    monkeypatch.setattr("converter.commands._mute_native_logs", lambda: None)
    assert main(["torch.onnx", "--data", "train.npz", "--out", "m.hwb"]) == 70
    said = capsys.readouterr().err
    assert said.startswith(
        "error: unexpected error: ZeroDivisionError: of two lines; nothing was written; please report"
    )
    assert said.count("\n") == 1
    assert edge_convert() == 70
    assert "Traceback" in capsys.readouterr().err
