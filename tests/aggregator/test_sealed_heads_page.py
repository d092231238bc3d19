"""docs/howto/sealed-heads.md is true: its commands run, and its settings are those there are."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.commands.signing import signer_of
from aggregator.config import read_settings
from aggregator.operations.enrolment import opened
from aggregator.store import MemoryStore
from edge_agent.config import read_config
from headway.bundle import read_public_keys
from headway.ports import SystemClock

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "sealed-heads.md").read_text()
SERVER = '[fleet]\nname = "plant"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "."\n'
DEVICE = '[device]\nid = "pump-7"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "."\n'


def blocks(table: str) -> list[str]:
    found = re.findall(r" {3}```toml\n(.*?) {3}```", PAGE, re.DOTALL)
    return [text for text in (re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in found) if table in text]


def test_the_pages_commands_run_and_make_the_keys_that_its_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in re.findall(r"\$ edge-fleet (.*)$", PAGE, re.MULTILINE):
        assert main(shlex.split(command)) == 0
    assert (tmp_path / "heads.pem").stat().st_mode & 0o777 == 0o600
    halves = [Path(f"{name}.pem.pub").read_text() for name in ("heads", "next")]
    Path("both.pub").write_text("".join(halves))
    first, both = blocks("[publish]")
    for settings, keys in ((first, halves[:1]), (both, halves)):
        Path("server.toml").write_text(SERVER + settings)
        read = read_settings(tmp_path / "server.toml")
        assert signer_of(read) is not None
        enrolment, _ = opened(read, SystemClock(), MemoryStore)
        assert enrolment._broker.head_keys == tuple(line.strip() for line in keys)
    (device,) = blocks("[sync]")
    Path("agent.toml").write_text(DEVICE + device)
    Path(tomllib.loads(device)["sync"]["head_keys"]).write_text("".join(halves))
    file = read_config(tmp_path / "agent.toml").sync.head_keys
    assert file is not None
    assert len(read_public_keys(file)) == 2
