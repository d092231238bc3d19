"""Holds the lock of a state folder: one service works on it, and nothing replaces its store meanwhile."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.owner import give_to_owner_of
from headway.errors import StoreError


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Two services on one store would each publish their own sum. Raises StoreError while another one runs."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("a")
    except OSError as error:
        raise _refused(state_dir, error) from error
    with lock:
        try:
            give_to_owner_of(state_dir, lock.fileno())
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"another aggregator runs on {state_dir}; stop it or give another --state-dir") from error
        except OSError as error:
            raise _refused(state_dir, error) from error
        yield


def _refused(state_dir: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot use {state_dir}: {error.strerror or error}")
