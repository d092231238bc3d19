"""`make matrix` goes on where it was ended, and takes nothing for true that other code has found."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from scripts import matrix

ENVIRONMENT = matrix.ENVIRONMENTS[0]
CODE = "c0de"
PASSED = matrix.Result("3.11.7", "1.26.4", "tflite-runtime 2.14.0", 1200, 0, 3, CODE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    ENVIRONMENT.result.parent.mkdir()
    return tmp_path


def test_what_this_code_has_found_is_kept(folder: Path) -> None:
    ENVIRONMENT.result.write_text(json.dumps(asdict(PASSED)))
    assert matrix.kept(ENVIRONMENT, CODE) == PASSED


def test_what_other_code_has_found_is_not(folder: Path) -> None:
    ENVIRONMENT.result.write_text(json.dumps(asdict(PASSED)))
    assert matrix.kept(ENVIRONMENT, "other") is None


def test_a_changed_file_of_the_agent_is_other_code(folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    (folder / "edge_agent").mkdir()
    (folder / "edge_agent" / "agent.py").write_text("a = 1\n")
    before = matrix.code_digest()
    assert matrix.code_digest() == before
    (folder / "edge_agent" / "agent.py").write_text("a = 2\n")
    assert matrix.code_digest() != before


def test_a_suite_that_failed_or_ran_nothing_is_not_good() -> None:
    assert PASSED.is_good
    assert not matrix.Result("3.11.7", "1.26.4", "tflite-runtime 2.14.0", 1200, 1, 3, CODE).is_good
    assert not matrix.Result("3.11.7", "1.26.4", "tflite-runtime 2.14.0", 0, 0, 3, CODE).is_good


def test_the_page_has_one_line_for_each_environment() -> None:
    assert "| 3.11.7 | 1.26.4 | tflite-runtime 2.14.0 | 1200 | 0 | 3 |\n" in matrix.page([PASSED])
