"""The workflows are sound YAML, call make targets that exist, and may do no more than they need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project.files import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def loaded(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict), f"{path.name} is no mapping"
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in loaded(path)["jobs"].values() for step in job["steps"]]


def test_the_three_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["check.yml", "nightly.yml", "tests.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_that_is_called_exists(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]
    called = {target for command in commands for target in re.findall(r"\bmake ([a-z][a-z-]*)", command)}
    assert called, f"{path.name} calls no make target"
    assert called <= TARGETS, f"the Makefile has no {sorted(called - TARGETS)}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_commits_and_may_only_read(path: Path) -> None:
    workflow = loaded(path)
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [name for name in used if not PINNED.fullmatch(name)] == []
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job and "timeout-minutes" in job for job in workflow["jobs"].values())
    assert workflow["concurrency"]["cancel-in-progress"] is True


def test_every_supported_python_is_tested() -> None:
    job = loaded(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]
    declared = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == declared


def test_forms_and_hooks_are_sound_yaml() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.name for form in forms] == ["bug.yml", "config.yml", "feature.yml"]
    for form in forms:
        content = loaded(form)
        if form.name != "config.yml":
            assert {"name", "description", "body"} <= content.keys()
            ids = [item["id"] for item in content["body"] if item["type"] != "markdown"]
            assert len(ids) == len(set(ids))
    hooks = [hook["id"] for repo in loaded(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert hooks == ["ruff-check", "ruff-format", "mypy"]
