"""Damaged models, data and command lines: one line of a known family, whatever comes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from converter import Options
from converter.cli import main
from converter.features import as_training_data
from converter.sources import open_source
from headway.errors import DataError, HeadwayError, ModelError
from headway.settings import Kind, entries
from tests.converter.onnx_models import data, floats, save, sklearn_pipeline, torch_like, weights
from tests.fuzz.mutation import mutated

Open = Callable[[Path], object]
FAMILIES = {1, 2, 3, 4, 5}


def survives(seeds: list[bytes], path: Path, read: Open, count: int) -> int:
    """How many of `count` mutations are refused, each in one line."""
    random, refused = np.random.default_rng(3), 0
    for index in range(count):
        path.write_bytes(mutated(seeds[index % len(seeds)], seeds, random))
        try:
            read(path)
        except HeadwayError as error:
            refused += 1
            assert "\n" not in str(error), str(error)  # noqa: PT017
    return refused


def asked(path: Path) -> None:
    source = open_source(path)
    if np.prod(source.input_shape) < 10_000:
        source.answers(np.zeros((2, *source.input_shape), np.float32))


def test_mutated_onnx_files_are_refused_in_one_line(tmp_path: Path) -> None:
    seeds = [torch_like(tmp_path).read_bytes(), sklearn_pipeline(tmp_path).read_bytes()]
    assert survives(seeds, tmp_path / "m.onnx", asked, 800) > 400


def test_mutated_data_is_refused_in_one_line(tmp_path: Path) -> None:
    x, y = data(20)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    assert survives([(tmp_path / "t.npz").read_bytes()], tmp_path / "f.npz", as_training_data, 200) > 100
    table = b"a,b,label\n" + b"".join(b"%d,%d,%s\n" % (row, row * 2, b"xy"[row % 2 : row % 2 + 1]) for row in range(20))
    assert survives([table], tmp_path / "f.csv", as_training_data, 200) > 100


def test_damaged_keras_files_are_refused_in_one_line(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="the converter extra is not installed")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def packed(path: Path) -> None:
        """The archive is whole, what it holds is not."""
        broken = path.read_bytes()
        for name in members:
            with zipfile.ZipFile(tmp_path / "p.keras", "w") as archive:
                for member, content in members.items():
                    archive.writestr(member, broken if member == name else content)
            open_source(tmp_path / "p.keras")

    assert survives([(tmp_path / "m.keras").read_bytes()], tmp_path / "f.keras", open_source, 10) > 2
    assert survives([(tmp_path / "m.h5").read_bytes()], tmp_path / "f.h5", open_source, 10) > 2
    assert survives([members["config.json"]], tmp_path / "f.json", packed, 5) > 2


@pytest.mark.parametrize("broken", ["fingerprint.pb", "saved_model.pb", "variables/variables.index"])
def test_a_damaged_saved_model_is_refused_in_one_line(broken: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="the converter extra is not installed")
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]).export(tmp_path / "m", verbose=False)
    whole = (tmp_path / "m" / broken).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff" + whole[1:]):
        (tmp_path / "m" / broken).write_bytes(content)
        try:
            open_source(tmp_path / "m")
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017 - some damage, such as of a fingerprint, may pass
        else:
            assert broken == "fingerprint.pb"


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx", ".tflite", ""])
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", None])
def test_no_model_at_all_is_refused_in_one_line(suffix: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_huge_declared_shapes_cost_nothing(tmp_path: Path) -> None:
    constants = {"w2": weights()["w2"]}
    nodes = [helper.make_node("MatMul", ["flat", "w2"], ["scores"])]
    nodes.insert(0, helper.make_node("Reshape", ["input", "to"], ["flat"]))
    constants["to"] = np.array([-1, 8])
    path = save(tmp_path / "m.onnx", nodes, [floats("scores", None, 3)], constants, "n", (2**20, 2**20))
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 6), np.float32), y=np.arange(4) % 3)
    assert main([str(path), "--data", str(tmp_path / "t.npz"), "--out", str(tmp_path / "o.hwb"), "--verbose"]) == 3
    table = np.lib.format.header_data_from_array_1_0(np.zeros((2, 2)))
    with zipfile.ZipFile(tmp_path / "h.npz", "w") as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, table | {"shape": (2**40, 2**20)})  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        as_training_data(tmp_path / "h.npz")
    assert "\n" not in str(caught.value)


def test_any_command_line_ends_in_a_family_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = data(20)
    np.savez("t.npz", x=x, y=y)
    Path("m.keras").write_bytes(b"no zip")
    Path("folder").mkdir()
    random = np.random.default_rng(5)
    words = [
        "",
        "m.keras",
        "t.npz",
        "folder",
        "gone",
        "\0",
        "-1",
        "0",
        "1e999",
        "nan",
        "9" * 400,
        "a,b",
        ",",
        "--",
        "é\n",
    ]
    flags = [entry.key for entry in entries(Options) if entry.setting.kind is not Kind.PATH]
    flags += [
        "--data",
        "--out",
        "--key",
        "--html",
        "--json",
        "--trainable",
        "inspect",
        "verify",
        "--pubkey",
        "--nonsense",
    ]
    for _ in range(150):
        count = int(random.integers(0, 6))
        pairs = [str(part) for _ in range(count) for part in (random.choice(flags), random.choice(words))]
        start = ["m.keras", "--data", "t.npz", "--out", "o.hwb"] if random.random() < 0.5 else []
        code = main([*start, *pairs, "--verbose"] if start else pairs)
        said = capfd.readouterr().err
        assert code in FAMILIES | {0}, (pairs, code, said)
        assert "Traceback" not in said
        assert code == 0 or said.startswith(("error: ", "Usage: ")), (pairs, said)
    assert not Path("o.hwb").exists()
