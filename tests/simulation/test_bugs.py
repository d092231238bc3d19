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
FIRST = {
    "ack before commit": 5,
    "outbox emptied on PUBACK": 0,
    "tables acknowledged by PUBACK": 0,
    "no fsync on the device": 1,
    "no fsync at the aggregator": 6,
    "publish before commit": 4,
    "spool file released before commit": 2,
    "learned and queued in two transactions": 31,
    "counter not persisted": 0,
    "epoch reused after a wipe": 0,
    "update taken twice": 0,
    "gap in updates accepted": 11,
    "tables added without subtracting the old": 4,
    "a trial saved apart from its label": 2,
    "a trial that changes what is learned": 2,
    "a command saved apart from its result": 0,
    "a command that was sent taken for done": 0,
    "settings told before they are saved": 0,
    "settings refused without a reason": 0,
    "settings of a group reach nobody": 8,
    "a head published without a verdict": 4,
    "a head's trial saved apart from its label": 0,
    "changes taken for whole tables": 3,
    "a weight not applied": 1,
    "a device set aside counts": 1,
    "a release counts twice": 3,
    "a removed liar is taken out twice": 3,
    "a removed liar stays set aside": 3,
    "a head after a withdrawn one is published untried": 1,
    "a head is withdrawn in words only": 1,
    "a liar is never set aside": 3,
}


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


@pytest.mark.parametrize("act", ["quarantine_device", "readmit_device"])
def test_an_operators_act_that_changes_nothing_is_found(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"headway_simulation.server.{act}", lambda *_: 1)
    result = run_seed(3)
    assert isinstance(result, Failure)
    assert "and it is not so" in result.problem
