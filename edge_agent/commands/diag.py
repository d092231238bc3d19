"""``edge-agent diag``: an archive for whoever helps, without passwords and keys; also while no agent runs."""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import headway
from edge_agent.combinations import RUNTIMES, combination_here, installed_runtimes
from edge_agent.commands.doctor import examine, findings_text
from edge_agent.commands.explain import read_decisions
from edge_agent.commands.status import read_status
from edge_agent.config import read_config
from edge_agent.remote_commands import redacted, secrets_of
from headway.durable import write_durably
from headway.errors import ConfigError, HeadwayError, StoreError
from headway.fields import readable_json
from headway.ports import Clock
from headway.printable import printable_lines

# of one member, from its end: what is newest
MEMBER_CHARACTERS_MAX = 512 * 1024
JOURNAL = ("journalctl", "--unit", "edge-agent", "--lines", "2000", "--no-pager", "--output", "short-iso")
JOURNAL_S_MAX = 20.0


def write_archive(file: Path, out: Path, clock: Clock) -> list[str]:
    """Write a .zip that only its owner may read; returns the names of what it holds.

    What cannot be read is told in its place: an archive of a broken device is the one that is needed.
    Raises StoreError where `out` cannot be written.
    """
    members = {name: _said(read) for name, read in _readers(file, clock).items()}
    hidden = _hidden(file)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            payload = printable_lines(redacted(text, hidden))[-MEMBER_CHARACTERS_MAX:]
            archive.writestr(zipfile.ZipInfo(f"headway-diag/{name}"), payload, zipfile.ZIP_DEFLATED)
    try:
        write_durably(out, stream.getvalue(), 0o600)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}; give --out another place") from error
    return [*members]


def _readers(file: Path, clock: Clock) -> dict[str, Callable[[], str]]:
    return {
        "versions.json": _versions,
        "doctor.txt": lambda: findings_text(examine(file, clock)),
        "status.json": lambda: readable_json(read_status(read_config(file), clock)),
        "decisions.json": lambda: readable_json(read_decisions(read_config(file))),
        "agent.toml": lambda: file.read_text(encoding="utf-8", errors="replace"),
        "journal.txt": _journal,
    }


def _said(read: Callable[[], str]) -> str:
    try:
        return read()
    except (HeadwayError, OSError) as error:
        return f"not there: {error}"


def _hidden(file: Path) -> tuple[str, ...]:
    """The password, and the name to log in with: a name may be a person's."""
    try:
        config = read_config(file)
    except ConfigError:
        return ()  # what looks like a secret is hidden all the same
    name = "" if config.mqtt is None else config.mqtt.username
    return (*secrets_of(config), *([name] if name and name not in (config.device, config.fleet) else []))


def _versions() -> str:
    """Python, machine and numpy stand beside each runtime; where none is installed, beside those that might be."""
    found = installed_runtimes()
    runtimes = {
        name: asdict(each) for name, each in (found or {name: combination_here(name) for name in RUNTIMES}).items()
    }
    return readable_json({"headway": headway.__version__, "installed": [*found], "runtimes": runtimes})


def _journal() -> str:
    try:
        done = subprocess.run(JOURNAL, capture_output=True, timeout=JOURNAL_S_MAX)
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"journalctl did not end within {JOURNAL_S_MAX:.0f} s") from error
    return (done.stdout or done.stderr).decode(errors="replace")
