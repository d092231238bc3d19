"""A command waits for nothing that it does not need: what it loads is looked at, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.registry import backfill
from aggregator.store import DeviceRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore

LOADED = "import sys; from {package}.cli import main; main(sys.argv[1:]); print(' '.join(sys.modules), file=sys.stderr)"
HEAVY = {"rich", "cryptography", "argon2", "alembic", "fastapi", "uvicorn", "paho", "httpx", "tensorflow"}


def loaded(package: str, *words: str) -> set[str]:
    """The top-level packages that are loaded once a command has ended."""
    command = [sys.executable, "-c", LOADED.format(package=package), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    ("words", "loads"),
    [(["devices"], set()), (["devices", "--filter", "labels > 3"], set()), (["groups"], {"sqlalchemy", "numpy"})],
)
def test_a_look_into_the_store_loads_what_it_needs(tmp_path: Path, words: list[str], loads: set[str]) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-1", 1.0, 2.0))
        backfill(store)
    store.close()
    found = loaded("aggregator", *words, "--state-dir", str(tmp_path))
    assert found & (HEAVY | {"sqlalchemy", "numpy"}) == loads


def test_help_of_a_device_loads_no_learner(tmp_path: Path) -> None:
    command = "import sys, edge_agent.cli; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} & (
        HEAVY | {"numpy", "safetensors", "click", "sqlalchemy"}
    ) == set()
