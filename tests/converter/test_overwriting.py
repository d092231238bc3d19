"""No target of a conversion destroys what it reads, what it did not write, or another target."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converter import Options, convert
from converter.cli import main
from converter.overwriting import check_targets, read_by
from headway.errors import ConfigError
from tests.converter.onnx_models import CLASSES, data, torch_like

pytest.importorskip("onnxruntime", reason="the converter extra is not installed")

WAYS: dict[str, Callable[[Path, Path], object]] = {
    "symbolic link": lambda target, file: target.symlink_to(file),
    "hard link": lambda target, file: os.link(file, target),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """torch.onnx, train.npz and a key that is never read."""
    x, y = data(60)
    torch_like(tmp_path)
    np.savez(tmp_path / "train.npz", x=x, y=y, classes=np.array(CLASSES))
    (tmp_path / "k.pem").write_text("a key")
    return tmp_path


@pytest.mark.parametrize("name", ["torch.onnx", "train.npz", "k.pem", "k.pem.pub"])
@pytest.mark.parametrize("option", ["out", "html"])
def test_what_is_read_is_never_written_over(folder: Path, name: str, option: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    targets = {"out": folder / "m.hwb", "html": folder / "r.html", option: folder / name}
    options = Options(formats=("onnx",), key=folder / "k.pem", html=targets["html"])
    with pytest.raises(ConfigError, match=rf"--{option} .*{name} is .* too and would destroy it"):
        convert(folder / "torch.onnx", folder / "train.npz", options, out=targets["out"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_command_protects_model_and_data_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("torch.onnx", "train.npz"):
        files = [str(folder / file) for file in ("torch.onnx", "train.npz", name)]
        assert main([files[0], "--data", files[1], "--out", files[2], "--verbose"]) == 2
        assert "and would destroy it; name another file" in capsys.readouterr().err


@pytest.mark.parametrize("way", WAYS)
def test_links_to_the_model_are_the_model(folder: Path, way: str) -> None:
    WAYS[way](folder / "m.hwb", folder / "torch.onnx")
    with pytest.raises(ConfigError, match="m.hwb is the model too and would destroy it"):
        convert(folder / "torch.onnx", folder / "train.npz", Options(formats=("onnx",)), out=folder / "m.hwb")


def test_a_path_written_otherwise_is_the_same_file(folder: Path) -> None:
    (folder / "sub").mkdir()
    out, html = folder / "m.hwb", folder / "sub" / ".." / "m.hwb"
    with pytest.raises(ConfigError, match="--html .*m.hwb is the file of --out too"):
        convert(folder / "torch.onnx", folder / "train.npz", Options(formats=("onnx",), html=html), out=out)


@pytest.mark.parametrize("kind", ["notes", "device", "pipe"])
def test_a_file_of_another_kind_is_left_alone(folder: Path, kind: str) -> None:
    target = folder / "notes.txt"
    if kind == "notes":
        target.write_text("my thesis")
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target = Path("/dev/null")
    with pytest.raises(ConfigError, match="exists and is no bundle; name another file"):
        check_targets({"--out": ("bundle", target)}, {})


def test_nothing_is_put_inside_a_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    with pytest.raises(ConfigError, match="--out .* lies inside the model .*saved; name a file elsewhere"):
        check_targets({"--out": ("bundle", tmp_path / "saved" / "m.hwb")}, {"the model": tmp_path / "saved"})


def test_earlier_files_of_the_same_kind_and_empty_ones_are_replaced(folder: Path) -> None:
    options = Options(formats=("onnx",), html=folder / "r.html")
    (folder / "m.hwb").touch()
    for _ in range(2):
        convert(folder / "torch.onnx", folder / "train.npz", options, out=folder / "m.hwb")
    assert (folder / "m.hwb").stat().st_size > 0


def test_live_models_and_arrays_have_no_file_to_protect() -> None:
    assert read_by(object(), (np.zeros(1), np.zeros(1)), Options()) == {}


def test_targets_that_cannot_be_written_are_known_at_once(tmp_path: Path) -> None:
    check_targets({"--out": ("bundle", tmp_path / "new.hwb")}, {})
    with pytest.raises(ConfigError, match="it is a folder"):
        check_targets({"--out": ("bundle", tmp_path)}, {})
    with pytest.raises(ConfigError, match="does not exist"):
        check_targets({"--out": ("bundle", tmp_path / "gone" / "new.hwb")}, {})
