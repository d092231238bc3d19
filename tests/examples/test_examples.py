"""Every example runs as it stands, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.project.files import ROOT

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The example in a process of its own, with this tree's code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def ran(name: str, *arguments: Path, folder: Path) -> str:
    """What the example printed; fails with its error."""
    done = run(name, *arguments, folder=folder)
    assert done.returncode == 0, f"{name} failed:\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle, whose backbone runs."""
    pytest.importorskip("onnxruntime", reason="no inference runtime: pip install 'headway[onnx]'")
    pytest.importorskip("onnx", reason="the converter extra is not installed")
    from converter import Options, convert
    from tests.converter.onnx_models import CLASSES, data, torch_like

    folder = tmp_path_factory.mktemp("bundle")
    convert(torch_like(folder), (*data(), CLASSES), Options(formats=("onnx",)), out=folder / "model.hwb")
    return folder / "model.hwb"


def test_every_example_has_a_test() -> None:
    tests = (Path(__file__), Path(__file__).parents[1] / "system" / "test_answers.py")
    tested = {
        name for test in tests for name in re.findall(r'(?:r[au]n\(\s*|"examples" / )"(\w+\.py)"', test.read_text())
    }
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_every_example_stands_in_the_list() -> None:
    listed = re.findall(r"^\| \[(\w+\.py)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_a_learner_is_embedded_in_ten_lines(bundle: Path, tmp_path: Path) -> None:
    from tests.converter.onnx_models import data

    x, y = data(seed=2)
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    printed = ran("embed_a_learner.py", bundle, tmp_path / "stream.npz", folder=tmp_path)
    found = re.match(r"(\d+\.\d)% of 90 windows right, the (frozen|exact) head serves now", printed)
    assert found, printed
    assert float(found[1]) > 80
    assert (tmp_path / "learned.state").stat().st_size > 0


def test_ten_devices_federate_and_one_leaves(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert len((EXAMPLES / "federate_ten_devices.py").read_text().splitlines()) <= 60
    printed = ran("federate_ten_devices.py", folder=tmp_path)
    shipped, alone, fleet, left = (float(figure) for figure in re.findall(r"(\d+\.\d)%", printed))
    assert shipped < alone < left < fleet, printed


def test_a_bundle_is_read(bundle: Path, tmp_path: Path) -> None:
    printed = ran("read_a_bundle.py", bundle, folder=tmp_path)
    assert '"kind": "headway-variant"' in printed
    assert "statistics:  90 training samples" in printed
    assert re.search(r"^probes: +\d+ windows", printed, re.MULTILINE)


def test_a_pytorch_model_becomes_a_bundle(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: pip install torch onnxscript")
    printed = ran("convert_from_pytorch.py", tmp_path / "digits.hwb", folder=tmp_path)
    found = re.search(r"on digits it never saw: (\d+\.\d)%", printed)
    assert found, printed
    assert float(found[1]) > 85


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed here")
def test_without_pytorch_one_line_says_what_to_install(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    done = run("convert_from_pytorch.py", tmp_path / "digits.hwb", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "this example needs PyTorch: pip install torch onnxscript\n"
