"""Fixtures shared by all tests: real brokers, started and stopped here, and checks that nothing is left behind."""

from __future__ import annotations

import os

# before anything imports numpy: one BLAS thread, as the programs themselves run
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import gc
from collections.abc import Generator, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import settings

from testbed.broker import Broker
from testbed.postgresql import Postgresql, PostgresqlMissing

ROOT = Path(__file__).parents[1]

# how long an example takes says how busy the machine is
settings.register_profile("headway", deadline=None)
settings.load_profile("headway")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one process more than cores, as tests of whole programs wait for those most of the time."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests and all that they import stay until the end: nothing looks for garbage among them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Whatever a test starts has ended when the last test has; several processes of tests may share the machine."""
    yield
    left = [command for command in _children() if "multiprocessing.resource_tracker" not in command]
    assert left == [], "tests left processes running"


@pytest.fixture(scope="session", autouse=True)
def _no_file_is_left() -> Iterator[None]:
    """Tests write into folders of their own. What `.gitignore` names, like caches, may come into the working folder."""
    before = _unexpected_files()
    yield
    assert _unexpected_files() - before == set(), f"tests left files in {Path.cwd()}; give them tmp_path"


def _unexpected_files() -> set[str]:
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return {each.name for each in Path().iterdir() if not any(fnmatch(each.name, pattern) for pattern in ignored)}


def _children() -> list[str]:
    """Command lines of the processes that this one started and that still run; none where there is no /proc."""
    commands = []
    for listed in Path("/proc/self/task").glob("*/children"):
        for pid in listed.read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                commands.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in commands if command]


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One broker for all tests that neither stop it nor mind what others retained; use a fleet name of your own."""
    with Broker() as running:
        yield running


@pytest.fixture
def fresh_broker() -> Iterator[Broker]:
    """A broker of the test's own, to be stopped, killed and restarted at will."""
    with Broker() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One PostgreSQL server; ask it for a database of the test's own. HEADWAY_POSTGRESQL=1: it must be there."""
    try:
        server = Postgresql()
    except PostgresqlMissing as missing:
        if os.environ.get("HEADWAY_POSTGRESQL"):
            raise
        pytest.skip(str(missing))
    with server:
        yield server
