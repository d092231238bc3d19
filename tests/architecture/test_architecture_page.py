"""ARCHITECTURE.md is true: what it names exists, and no package is missing from it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.rules import ROOT, sources

PAGE = (ROOT / "ARCHITECTURE.md").read_text()
WHERE = re.findall(r"^\| (.+?) \| `([\w/]+\.py)` \| `(.+?)` \|$", PAGE, re.MULTILINE)
MENTIONED = sorted(set(re.findall(r"`((?:[\w-]+/)+(?:[\w-]+\.\w+)?)`", PAGE)))


def defined(text: str) -> set[str]:
    """Names of a module: classes, functions, constants, and members of classes as ``Class.member``."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize(("question", "path", "names"), WHERE)
def test_what_the_table_names_is_there(question: str, path: str, names: str) -> None:
    there = defined((ROOT / path).read_text())
    missing = [name for name in names.split(", ") if name not in there]
    assert not missing, f"{question}: {path} has no {missing}"


def test_the_table_answers_many_questions() -> None:
    assert len(WHERE) >= 30


@pytest.mark.parametrize("path", MENTIONED)
def test_every_file_that_the_page_mentions_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_package_is_on_the_page() -> None:
    packages = {path.rpartition("/")[0] for path in sources() if path.endswith("/__init__.py")}
    missing = [package for package in sorted(packages) if f"| `{package}` |" not in PAGE]
    assert missing == []
