"""Secrets that a unit hands to its service with ``LoadCredential=secrets:FOLDER``."""

from __future__ import annotations

import os
from pathlib import Path

CREDENTIAL = "secrets"


def readable_copy(path: Path) -> Path:
    """Where to read a file of a folder ``secrets``: systemd's copy where there is one, or the file itself.

    systemd makes the copies when the service starts; a secret that changes later needs a restart.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None or path.parent.name != CREDENTIAL:
        return path
    copy = Path(folder) / f"{CREDENTIAL}_{path.name}"
    return copy if os.access(copy, os.R_OK) else path
