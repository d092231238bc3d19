"""The simulation finds mistakes: each planted bug fails within a bounded number of seeds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from headway_simulation.runner import Failure, run_seed
from tests.simulation.bugs import BUGS

SEEDS_MAX = 40
# the seed that finds each soonest, tried first: a change of the simulation may make it another, and all are tried then;
# python -m tests.simulation.bug_seeds prints this table anew
FIRST = {}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of lost connections are no news here."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    for seed in sorted(range(SEEDS_MAX), key=lambda seed: seed != FIRST[bug]):
        result = run_seed(seed, build=BUGS[bug])
        if isinstance(result, Failure):
            # a promise was broken; that the faulty code crashed would show nothing
            assert "Traceback" not in result.problem
            print(f"{bug}: seed {seed}, event {result.event}: {result.problem}")
            return
    pytest.fail(f"{bug} survived {SEEDS_MAX} seeds")
