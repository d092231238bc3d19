"""What a release says of itself agrees: version, changelog, constraints, types."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from itertools import pairwise

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import headway
from tests.project.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# in environments of their own, never beside the others
APART = {"bench", "tflite"}
REQUIREMENTS = [
    *PROJECT["project"]["dependencies"],
    *(
        requirement
        for extra, listed in PROJECT["project"]["optional-dependencies"].items()
        if extra not in APART
        for requirement in listed
    ),
]


def constraints() -> dict[str, str]:
    """Version by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in pinned)}


def test_one_version_is_written_everywhere() -> None:
    assert PROJECT["project"]["version"] == headway.__version__


def test_the_changelog_has_dated_sections_newest_first() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    releases = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", title) for title in titles[1:]]
    assert all(releases), f"a section is '## [1.2.3] - YYYY-MM-DD', got {titles[1:]}"
    order = [(date.fromisoformat(found[4]), tuple(map(int, found.groups()[:3]))) for found in releases if found]
    assert all(newer > older for newer, older in pairwise(order))
    assert ".".join(map(str, order[0][1])) == headway.__version__


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_dependency_has_an_exact_version_that_satisfies_it(requirement: str) -> None:
    wanted = Requirement(requirement)
    version = constraints().get(canonicalize_name(wanted.name))
    assert version is not None, f"constraints.txt lacks {wanted.name}; make clean constraints writes it anew"
    assert wanted.specifier.contains(version), f"constraints.txt pins {wanted.name} {version}, not {wanted.specifier}"


def test_packages_with_a_public_api_are_marked_as_typed() -> None:
    marked = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("headway", "edge_agent", "converter", "aggregator"):
        assert "py.typed" in marked[package]
        assert (ROOT / package / "py.typed").exists()
