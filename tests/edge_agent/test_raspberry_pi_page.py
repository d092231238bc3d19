"""The page from a blank card: its commands are the program's, and its files are those of the packages.

tests/system/test_deb.py runs its `init` in a Debian tree.
"""

from __future__ import annotations

import re
import shlex

import pytest

from edge_agent.cli import parser
from edge_agent.installing.system import PREFIX
from scripts.deb import MACHINES, PROGRAMS, SYSTEMS
from tests.architecture.rules import ROOT

PAGE = (ROOT / "docs" / "howto" / "raspberry-pi.md").read_text()
COMMANDS = re.findall(r"(?m)^ *sudo (?:hw/bin/)?edge-agent (.*)$", PAGE)


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_understood(command: str) -> None:
    assert callable(parser().parse_args(shlex.split(command)).run)


def test_the_packages_are_those_that_are_built() -> None:
    named = set(re.findall(r"\b(headway-[a-z]+)_[^ ]*?\+(deb\d+)_(\w+)\.deb", PAGE))
    assert named
    assert {name[0] for name in named} <= set(PROGRAMS)
    assert {name[1] for name in named} <= set(SYSTEMS)
    assert {name[2] for name in named} <= set(MACHINES)


def test_folders_are_those_of_the_units() -> None:
    assert f"`{PREFIX}` without pip" in PAGE
    folders = (ROOT / "systemd" / "headway.tmpfiles").read_text()
    for folder in ("/etc/headway/secrets", "/var/spool/headway/in", "/var/spool/headway/predictions"):
        assert f"d {folder} " in folders
        assert folder in PAGE
