"""`make matrix` goes on where it was ended, and takes nothing for true that other code has found."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
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


def test_the_page_has_one_line_for_each_environment_with_commit_and_time() -> None:
    told = replace(PASSED, commit="0123456789", ended="2026-11-30 05:00")
    row = "| 3.11.7 | 1.26.4 | tflite-runtime 2.14.0 | 1200 | 0 | 3 | 0123456789 | 2026-11-30 05:00 |\n"
    assert row in matrix.page([told])
    assert "| 1200 | 0 | 3 | unknown | unknown |\n" in matrix.page([PASSED]), "earlier results did not say"


def test_a_result_names_its_commit_and_whether_other_code_ran(folder: Path) -> None:
    assert matrix.commit_of_code() == matrix.UNKNOWN, "no checkout"
    (folder / "edge_agent").mkdir()
    (folder / "edge_agent" / "agent.py").touch()
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "one")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    commit = matrix.commit_of_code()
    assert len(commit) == 10
    (folder / "README.md").touch()
    assert matrix.commit_of_code() == commit, "no test depends on it"
    (folder / "edge_agent" / "agent.py").write_text("changed")
    assert matrix.commit_of_code() == commit + "+"
