"""The house stands as ARCHITECTURE.md says, and every rule that says so can fail."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module

import pytest

from tests.architecture.rules import complaints, cycles, past_faces, room_cycles, sources

HEAVY = [
    "tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "tflite_runtime", "sqlalchemy", "fastapi",
    "matplotlib", "sklearn", "scipy", "pandas", "cryptography", "rich", "jinja2",
]  # fmt: skip


def test_every_module_keeps_the_rules() -> None:
    found = sources()
    assert len(found) > 500
    assert [each for path in sorted(found) for each in complaints(path, found[path])] == []


def test_there_are_no_import_cycles() -> None:
    assert cycles(sources()) == []


def test_no_arrow_between_rooms_runs_back_up() -> None:
    assert room_cycles(sources()) == []


def test_rooms_are_entered_through_their_faces() -> None:
    assert past_faces(sources()) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("edge_agent/a.py", "import aggregator.core", "imports aggregator"),
        ("headway/a.py", "from edge_agent import agent", "imports edge_agent"),
        ("aggregator/a.py", "def f():\n    import headway_simulation.plan", "imports headway_simulation"),
        ("edge_agent/a.py", "import headway_simulation", "imports headway_simulation"),
        ("headway_simulation/a.py", "import converter.convert", "imports converter"),
        ("headway_simulation/a.py", "import sqlalchemy", "imports sqlalchemy"),
        ("headway/a.py", "def f():\n    import converter", "imports converter"),
        ("edge_agent/a.py", "import paho.mqtt.client", "imports paho"),
        ("edge_agent/a.py", "import tensorflow as tf", "imports tensorflow"),
        ("headway/a.py", "import sqlalchemy", "imports sqlalchemy"),
        ("edge_agent/a.py", "import click", "imports click"),
        ("edge_agent/a.py", "from headway.command_line import run", "imports headway.command_line"),
        ("headway/a.py", "from rich.table import Table", "imports rich"),
        ("headway_simulation/a.py", "import jinja2", "imports jinja2"),
        ("headway/a.py", "from tests import x", "imports tests"),
        ("headway/a.py", "import pickle", "imports pickle"),
        ("headway/a.py", "exec('1')", "calls exec"),
        ("headway/a.py", "load(f, allow_pickle=True)", "allows pickle"),
        ("headway/a.py", "try:\n    f()\nexcept OSError:\n    pass", "swallows an exception"),
        ("headway/a.py", "import time\ntime.time()", "reads the clock itself: time.time"),
        ("headway/a.py", "TOPIC = 'headway/v1/x'", "builds a topic itself"),
        ("headway/a.py", "x = 1", "has no docstring"),
        ("headway/a.py", "\n" * 400, "has more than 350 lines"),
    ],
)
def test_every_rule_fires(path: str, text: str, complaint: str) -> None:
    assert f"{path} {complaint}" in complaints(path, text)


def test_types_only_imports_are_no_arrows() -> None:
    text = '"""D."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tensorflow\n'
    assert complaints("headway/a.py", text) == []


def later_faces() -> list[str]:
    return [path for path, text in sources().items() if "loaded_later(__name__, WHERE)" in text]


@pytest.mark.parametrize("path", later_faces())
def test_a_face_that_loads_later_loads_what_it_says(path: str) -> None:
    module = import_module(path.removesuffix("/__init__.py").replace("/", "."))
    tree = ast.parse(sources()[path])
    for_types = {
        (node.module, alias.name)
        for block in tree.body if isinstance(block, ast.If)
        for node in block.body if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    at_run_time = {
        (f"{module.__name__}.{room}", name) for room, names in module.WHERE.items() for name in names.split()
    }
    assert at_run_time == for_types
    assert {name for _, name in for_types} == set(module.__all__)
    for room, name in for_types:
        assert getattr(module, name) is getattr(import_module(str(room)), name)
    with pytest.raises(AttributeError, match="has no attribute 'none'"):
        _ = module.none


def test_what_a_face_loads_later_is_an_arrow() -> None:
    text = '"""D."""\nif TYPE_CHECKING:\n    import tensorflow\n__getattr__ = loaded_later(__name__, WHERE)\n'
    assert complaints("headway/a.py", text) == ["headway/a.py imports tensorflow"]


def test_a_cycle_is_found() -> None:
    modules = {"headway/a.py": "import headway.b", "headway/b.py": "from headway import a"}
    assert cycles(modules) == ["headway.a -> headway.b -> headway.a"]


def test_an_arrow_back_up_between_rooms_is_found() -> None:
    modules = {
        "headway/__init__.py": "",
        "headway/wire/__init__.py": "",
        "headway/wire/a.py": "from headway.maths import b",
        "headway/wire/c.py": "",
        "headway/maths/__init__.py": "from headway.maths.b import x",
        "headway/maths/b.py": "import headway.wire.c",
    }
    assert cycles(modules) == []
    assert room_cycles(modules) == ["headway.maths -> headway.wire -> headway.maths"]


def test_an_import_past_a_face_is_found() -> None:
    modules = {
        "headway/wire/__init__.py": "",
        "headway/wire/a.py": "",
        "headway/wire/deep/__init__.py": "",
        "headway/wire/deep/b.py": "from headway.wire.a import x",
        "headway/c.py": "from headway.wire import x\nfrom headway.wire.a import y",
    }
    assert past_faces(modules) == ["headway/c.py imports headway.wire.a past the face of headway.wire"]


@pytest.mark.parametrize("module", ["edge_agent", "edge_agent.embed", "edge_agent.config", "headway.mqtt"])
def test_a_learner_in_another_program_loads_no_network(module: str) -> None:
    script = f"import sys, {module}; print(sorted({{'paho', 'ssl', '{module}'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"['{module}']"


@pytest.mark.parametrize("program", ["edge_agent.cli", "converter.cli", "aggregator.cli"])
def test_the_help_of_a_program_loads_little(program: str) -> None:
    script = f"""
import contextlib, io, json, sys
from {program} import main
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    assert main(["--help"]) == 0
print(json.dumps([said.getvalue(), sorted({{m.split('.')[0] for m in sys.modules}})]))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    said, loaded = json.loads(output)
    assert "--help" in said
    assert program.split(".")[0] in loaded
    assert set(loaded) & set(HEAVY) == set()
    assert ("click" in loaded) == (program != "edge_agent.cli")
