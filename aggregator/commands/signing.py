"""Implements ``edge-fleet keygen``, and reads the key with which heads, priors and records of removals are signed."""

from __future__ import annotations

import stat
from pathlib import Path

from aggregator.commands.done import say
from aggregator.config import Settings
from headway.errors import ConfigError
from headway.private_keys import Signer, generate_key, read_signer

MAKE_WITH = "edge-fleet keygen heads.pem"


def make_key(file: Path) -> None:
    """Raises ConfigError where there is a key already."""
    public = generate_key(file)
    say(
        f"{file}: private, for publish.signing_key; only the server may read it\n"
        f"{public}: public, for [sync] head_keys of devices; edge-agent join brings it to new ones",
        private=str(file), public=str(public),
    )  # fmt: skip


def signer_of(settings: Settings) -> Signer | None:
    """The server's key; None where none is configured. Raises ConfigError for one that others may read."""
    file = settings.signing_key
    if file is None:
        return None
    signer = read_signer(file, MAKE_WITH)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(f"{file} has mode {mode:04o}, and others can read the key: chmod 600 {file}")
    return signer
