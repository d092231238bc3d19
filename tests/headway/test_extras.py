"""A program whose packages are not installed says in one line which extra to install."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from converter.keys import generate_key, read_signer
from headway.errors import RuntimeUnavailableError
from headway.extras import missing_extra
from tests.converter.onnx_models import CLASSES, data, torch_like
from tests.edge_agent.variants import variant

ROOT = Path(__file__).resolve().parents[2]
# read by Python at every start, so that workers of the converter lack the packages as well
WITHOUT = """
import os, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        missing = name.partition(".")[0] in os.environ["WITHOUT"].split()
        return None if missing else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
CONVERT = ["converter.cli", "torch.onnx", "--data", "train.npz", "--out", "m.hwb"]
CONVERTER, AGGREGATOR = "pip install 'headway[converter]'", "pip install 'headway[aggregator]'"
EVENTS = ["aggregator.cli", "events", "--state-dir", "."]
DEVICES = ["aggregator.cli", "devices", "--state-dir", "."]
ALL_BUT_CLICK = "tensorflow keras onnx onnxruntime sqlalchemy jinja2 rich cryptography"
RUNTIMES = "ai_edge_litert tflite_runtime onnxruntime"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its data, a signed bundle, a stream, and an aggregator's state."""
    made = tmp_path_factory.mktemp("without")
    (made / "sitecustomize.py").write_text(WITHOUT)
    x, y = data(120)
    torch_like(made)
    np.savez(made / "train.npz", x=x, y=y, classes=np.array(CLASSES))
    generate_key(made / "key.pem")
    bundle = variant()
    replace(bundle, release=4).write(made / "signed.hwb", read_signer(made / "key.pem"))
    np.savez(made / "stream.npz", x=bundle.probe_inputs, y=np.full(len(bundle.probe_inputs), -1))
    SqlStore(sqlite_url(made)).close()
    return made


def run(folder: Path, without: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "WITHOUT": without}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environment)


@pytest.mark.parametrize(
    ("without", "arguments", "exit_code", "advice"),
    [
        ("click", ["converter.cli", "--help"], 2, f"click is not installed; {CONVERTER}"),
        ("click", CONVERT, 2, f"click is not installed; {CONVERTER}"),
        ("rich", CONVERT, 2, f"rich is not installed; {CONVERTER}"),
        ("jinja2", [*CONVERT, "--html", "r.html"], 2, f"jinja2 is not installed; {CONVERTER}"),
        ("onnx", CONVERT, 2, f"onnx is not installed; {CONVERTER}"),
        ("onnxruntime", CONVERT, 2, f"onnxruntime is not installed; {CONVERTER}"),
        ("tensorflow keras", [CONVERT[0], "saved", *CONVERT[2:]], 2, f"tensorflow is not installed; {CONVERTER}"),
        ("tensorflow keras", [CONVERT[0], "model.keras", *CONVERT[2:]], 2, f"keras is not installed; {CONVERTER}"),
        ("cryptography", ["converter.cli", "keygen", "k.pem"], 2, f"cryptography is not installed; {CONVERTER}"),
        ("cryptography", [*CONVERT, "--key", "key.pem"], 2, f"cryptography is not installed; {CONVERTER}"),
        ("click", ["aggregator.cli", "--help"], 2, f"click is not installed; {AGGREGATOR}"),
        ("sqlalchemy", EVENTS, 2, f"sqlalchemy is not installed; {AGGREGATOR}"),
        (
            "rich",
            ["aggregator.cli", "watch", "--state-dir", "."],
            2,
            f"rich is not installed; {AGGREGATOR}",
        ),
        (
            RUNTIMES,
            ["edge_agent.cli", "replay", "signed.hwb", "stream.npz", "--out", "out.npz"],
            RuntimeUnavailableError.exit_code,
            "pip install 'headway[litert]'",
        ),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_one_line_with_the_extra(
    folder: Path, without: str, arguments: list[str], exit_code: int, advice: str
) -> None:
    (folder / "saved").mkdir(exist_ok=True)
    (folder / "saved" / "saved_model.pb").write_bytes(b"")
    (folder / "model.keras").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip archive
    done = run(folder, without, arguments)
    assert (done.returncode, done.stderr.count("\n")) == (exit_code, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert advice in done.stderr
    assert not (folder / "m.hwb").exists()


@pytest.mark.parametrize(
    ("without", "arguments"),
    [
        (ALL_BUT_CLICK, ["converter.cli", "--help"]),
        (ALL_BUT_CLICK, ["converter.cli", "inspect", "signed.hwb"]),
        (ALL_BUT_CLICK, ["aggregator.cli", "--help"]),
        ("rich", DEVICES),
        ("rich", ["aggregator.cli", "deliver", "signed.hwb", "--all", "--state-dir", "."]),
        ("sqlalchemy", DEVICES),
        (f"click rich jinja2 sqlalchemy cryptography {RUNTIMES}", ["edge_agent.cli", "--help"]),
    ],
)  # fmt: skip
def test_what_a_command_does_not_need_may_be_missing(folder: Path, without: str, arguments: list[str]) -> None:
    done = run(folder, without, arguments)
    assert (done.returncode, done.stderr) == (0, "")


VERIFY = ["converter.cli", "verify", "signed.hwb", "--pubkey", "key.pem.pub"]


# without the second, Python's hashlib makes do with its own code, and loads no libcrypto
PACKAGE, LIBRARY = "cryptography", "_hashlib _ssl"


def test_a_signature_is_checked_where_one_of_library_program_and_package_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neither = f"{PACKAGE} {LIBRARY}"
    assert run(folder, neither, VERIFY).returncode == 0
    monkeypatch.setenv("PATH", str(folder))
    assert run(folder, PACKAGE, VERIFY).returncode == 0
    assert run(folder, LIBRARY, VERIFY).returncode == 0
    done = run(folder, neither, VERIFY)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "apt install openssl" in done.stderr
    assert "pip install 'headway[signing]'" in done.stderr


def test_a_module_of_our_own_that_is_missing_is_a_bug_and_stays_a_traceback() -> None:
    gone = ModuleNotFoundError("No module named 'converter.gone'", name="converter.gone")
    with pytest.raises(ModuleNotFoundError, match=r"converter\.gone"):
        missing_extra(gone, "converter")
