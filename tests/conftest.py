"""Fixtures shared by all tests: real brokers, started and stopped here."""

from __future__ import annotations

import os

# before anything imports numpy: one BLAS thread, as the programs themselves run
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator

import pytest

from testbed.broker import Broker


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
