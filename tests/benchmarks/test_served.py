"""The fleet of `benchmarks.attacks_served`: real agents and the real aggregator, some devices malicious."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from aggregator.policy import HeadGatePolicy, Policy
from benchmarks.attacked_fleets import AttackedFleet, digits
from benchmarks.attacks import rotated
from benchmarks.attacks_served import lie
from benchmarks.served_fleets import LiesOnTrials, lived, newcomers
from edge_agent.learner.gate import FROZEN

ROUNDS = 3


def small(devices: int, labels: int) -> AttackedFleet:
    """Ten devices' digits, but fewer of both."""
    fleet = digits(10, 0)
    parts = tuple(rows[:labels] for rows in fleet.devices[:devices])
    return replace(fleet, devices=parts, places=(0,) * devices)


def test_a_device_with_labels_serves_no_poisoned_head_and_one_without_serves_the_frozen_one() -> None:
    fleet = small(4, 16)
    attack = partial(rotated, 1, 1.0, 1000)
    lies = {place: lie(fleet, place, attack, False, np.random.default_rng(place)) for place in (1, 2, 3)}
    # nothing but the gates of the devices stands between them and a fleet of liars
    server, honest = lived(fleet, lies, ROUNDS, replace(Policy(), head_gate=HeadGatePolicy(enabled=False)))
    (test,) = fleet.tests
    frozen = newcomers(fleet, server, {}, 0)[0]
    assert fleet.accuracy(server.heads[-1].head) < frozen - 5.0
    assert all(device.accuracy(test) > frozen - 1.0 for device in honest.values())
    assert server.rounds == ROUNDS
    assert {device.agent.learner.fleet_version for device in honest.values()} == {server.heads[-1].version}
    assert frozen > 80.0


def test_one_that_lies_about_heads_has_none_withdrawn() -> None:
    fleet = small(5, 60)
    random = np.random.default_rng(0)
    server, honest = lived(fleet, {0: LiesOnTrials(lie(fleet, 0, None, False, random))}, ROUNDS, Policy())
    assert len(honest) == 4
    assert len(server.heads) == ROUNDS
    assert server.gate == []
    assert {device.agent.learner.serving for device in honest.values()} != {FROZEN}
