"""Where a store is that nobody has put elsewhere: a file of SQLite in the state folder."""

from __future__ import annotations

from pathlib import Path

DATABASE = "aggregator.sqlite"
STATE_DIR = "/var/lib/headway-aggregator"
# of the database; what brings one from one to the next is in aggregator.store.migrations
SCHEMA = 5
BUSY_TIMEOUT_MS = 10_000


def sqlite_url(state_dir: Path) -> str:
    """URL of the default database in `state_dir`."""
    return f"sqlite:///{(state_dir / DATABASE).absolute()}"
