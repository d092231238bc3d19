"""The server's disk forgets its last minutes, or everything, after commands, labels and settings were told and done:
nothing counts twice, nothing stays open, and what is wanted then holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count, islice

import pytest

from aggregator.policy import Method
from headway_simulation.clock import Scheduler
from headway_simulation.faults import FORGETS_SHARE
from headway_simulation.world import COMMANDED_SHARE, CONFIGURED_SHARE, World

DEVICES, HOURS, SEEDS = 2, 1.5, 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def forgetful_seeds() -> Iterator[int]:
    """Those in which operators command and configure, and the server forgets."""
    lots = {"forgets": FORGETS_SHARE, "commanded": COMMANDED_SHARE, "configured": CONFIGURED_SHARE}
    for seed in count():
        if all(Scheduler(seed).chance(name).random() < share for name, share in lots.items()):
            yield seed


@pytest.mark.parametrize("seed", [*islice(forgetful_seeds(), SEEDS)])
def test_what_was_done_and_is_forgotten_is_not_done_again(seed: int) -> None:
    """What the world checks after every event and at rest holds."""
    world = World(seed, DEVICES, HOURS, method=Method.EXACT, copies=False)
    outcome = world.run()
    assert world.server.lost_store > 0
    assert world.lives.operator.ended, "devices have done what they were told"
    assert outcome.heads > 0
