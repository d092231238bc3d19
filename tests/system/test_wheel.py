"""What pip installs: the programs, and the files beside the code that they need."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.rules import ROOMS, ROOT

pytestmark = pytest.mark.system


def test_the_wheel_holds_the_pages_templates_and_no_tests(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for room in (*ROOMS, "demo", "tests/architecture"):
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", str(tree), "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("headway-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.j2")}
    assert templates
    assert templates <= names
    assert "headway/py.typed" in names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == set(ROOMS)
