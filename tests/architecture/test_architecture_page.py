"""ARCHITECTURE.md is true: what it names exists, and no package is missing from it."""

from __future__ import annotations

import ast
import re

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


def test_what_the_table_names_is_there() -> None:
    there = {path: defined((ROOT / path).read_text()) for _, path, _ in WHERE if (ROOT / path).exists()}
    missing = [
        f"{question}: {path} has no {name}"
        for question, path, names in WHERE
        for name in names.split(", ")
        if name not in there.get(path, ())
    ]
    assert missing == []


def test_the_table_answers_many_questions() -> None:
    assert len(WHERE) >= 30


def test_every_file_that_the_page_mentions_exists() -> None:
    assert len(MENTIONED) >= 30
    assert [path for path in MENTIONED if not (ROOT / path).exists()] == []


def test_every_package_is_on_the_page() -> None:
    packages = {path.rpartition("/")[0] for path in sources() if path.endswith("/__init__.py")}
    missing = [package for package in sorted(packages) if f"| `{package}` |" not in PAGE]
    assert missing == []
