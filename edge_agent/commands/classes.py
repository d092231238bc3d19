"""``edge-agent classes``: puts an order to change classes into the spool, where it takes its turn among the files."""

from __future__ import annotations

import io
import os

import numpy as np

from edge_agent.config import SensorSettings
from headway.arrays import AnyArray
from headway.class_changes import ADD, REMOVE, RENAME, ClassChanges
from headway.durable import sync_folder, write_durably
from headway.errors import ConfigError, StoreError, reason


def order(changes: ClassChanges, settings: SensorSettings) -> str:
    """Write the file; returns its name. Raises ConfigError, StoreError."""
    if not settings.spool_dir.is_dir():
        raise ConfigError(f"{settings.spool_dir} does not exist; start the agent once, or check spool_dir")
    arrays: dict[str, AnyArray] = {}
    if changes.rename:
        arrays[RENAME] = np.array(changes.rename)
    if changes.add:
        arrays[ADD] = np.array(changes.add)
    if changes.remove:
        arrays[REMOVE] = np.array(changes.remove)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    staged = settings.spool_dir / f".classes-{os.getpid()}"
    write_durably(staged, buffer.getvalue())
    number = 1
    while True:
        name = f"classes-{os.getpid()}-{number}.npz"
        try:
            os.link(staged, settings.spool_dir / name)
            break
        except FileExistsError:
            number += 1
        except OSError as error:
            staged.unlink(missing_ok=True)
            raise StoreError(f"cannot write {settings.spool_dir / name}: {reason(error)}") from error
    staged.unlink()
    sync_folder(settings.spool_dir)
    return name
