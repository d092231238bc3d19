"""An installed environment is compiled without docstrings; what it does stays the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.installing import compiling
from edge_agent.installing.compiling import compile_environment

ROOT = Path(__file__).parents[2]
MODULE = '''"""What it is for."""
from __future__ import annotations

class Sensor:
    """Reads."""

def checked(value: int) -> int:
    """Above zero."""
    assert value > 0, "an assertion stays"
    return value
'''
SHOWN = """
import {module} as m
print(repr(m.__doc__), repr(m.Sensor.__doc__), repr(m.checked.__doc__), m.__cached__, m.checked.__code__.co_filename)
try:
    m.checked(0)
except AssertionError as error:
    print(error)
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A folder like one of /opt/headway, whose interpreter finds numpy and this project."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    script = tmp_path / "bin" / "python3"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT}:{tmp_path}/lib exec {sys.executable} "$2" "$3" "$4"\n')
    script.chmod(0o755)
    return tmp_path


def shown(folder: Path, module: str) -> list[str]:
    command, env = [sys.executable, "-B", "-c", SHOWN.format(module=module)], {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_docstrings_go_and_assertions_stay(environment: Path) -> None:
    modules = environment / "lib"
    (modules / "one.py").write_text(MODULE)
    (modules / "pycparser").mkdir()
    (modules / "pycparser" / "__init__.py").touch()
    (modules / "pycparser" / "grammar.py").write_text(MODULE)
    (modules / "later.py").write_text("match = = 1")
    assert compile_environment(environment) == ""
    documented, assertion = shown(modules, "one")
    assert documented.startswith("'' '' '' ")
    assert documented.endswith(f" {modules}/one.py"), "tracebacks name the file"
    assert assertion == "an assertion stays"
    grammar, _ = shown(modules, "pycparser.grammar")
    assert grammar.startswith("'What it is for.' 'Reads.' 'Above zero.' ")


def test_a_source_that_is_changed_later_counts(environment: Path) -> None:
    (environment / "lib" / "one.py").write_text(MODULE)
    compile_environment(environment)
    (environment / "lib" / "one.py").write_text(MODULE.replace("Reads.", "Reads more."))
    assert "'Reads more.'" in shown(environment / "lib", "one")[0]


def test_where_a_library_needs_its_docstrings_they_all_stay_and_that_is_said(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = environment / "lib"
    (modules / "one.py").write_text(MODULE)
    monkeypatch.setattr(compiling, "PROOF", 'import one; assert one.__doc__, "one has no docstring"')
    assert compile_environment(environment) == (
        "modules keep their docstrings, some need them: AssertionError: one has no docstring"
    )
    assert shown(modules, "one")[0].startswith("'What it is for.' ")
