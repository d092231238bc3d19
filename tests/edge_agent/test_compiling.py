"""An installed environment is compiled without docstrings; what it does stays the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edge_agent.installing.compiling import compile_environment

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


def shown(folder: Path, module: str) -> list[str]:
    command, env = [sys.executable, "-B", "-c", SHOWN.format(module=module)], {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_docstrings_go_and_assertions_stay(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(MODULE)
    (tmp_path / "pycparser").mkdir()
    (tmp_path / "pycparser" / "__init__.py").touch()
    (tmp_path / "pycparser" / "grammar.py").write_text(MODULE)
    (tmp_path / "later.py").write_text("match = = 1")
    compile_environment(tmp_path)
    documented, assertion = shown(tmp_path, "one")
    assert documented.startswith("'' '' '' ")
    assert documented.endswith(f" {tmp_path}/one.py"), "tracebacks name the file"
    assert assertion == "an assertion stays"
    grammar, _ = shown(tmp_path, "pycparser.grammar")
    assert grammar.startswith("'What it is for.' 'Reads.' 'Above zero.' ")


def test_a_source_that_is_changed_later_counts(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(MODULE)
    compile_environment(tmp_path)
    (tmp_path / "one.py").write_text(MODULE.replace("Reads.", "Reads more."))
    assert "'Reads more.'" in shown(tmp_path, "one")[0]
