"""What root makes in the state folder belongs to the service's user, or the service could not use it."""

from __future__ import annotations

import os
from pathlib import Path


def give_to_owner_of(folder: Path, file: Path | int) -> None:
    """Give a file, by path or descriptor, to whom `folder` belongs; nothing where this process is not root."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
