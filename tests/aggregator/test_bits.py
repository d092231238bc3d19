"""The promise of the exact method: the published head is the one solved in one place, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics
from headway.ports import Received
from tests.aggregator.fleets import CLASSES, SPACE, Fleet, heads, model, samples, statistics_message


@pytest.mark.parametrize("devices", [1, 7, 100])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_published_head_is_bit_identical_to_one_place(devices: int, seed: int) -> None:
    """2,000 samples over the devices, several cumulative reports each, repeated, lost and in random order."""
    random = np.random.default_rng(seed)
    codes, labels = samples(2000, 1000 + seed)
    owner = random.integers(0, devices, len(codes))
    messages: list[Received] = []
    for device in range(devices):
        rows = np.flatnonzero(owner == device)
        for counter in (1, 2, 3, 4):
            part = rows[: len(rows) * counter // 4]
            statistics = Statistics.of(codes[part], labels[part], CLASSES, SPACE)
            message = statistics_message(f"d{device}", 1, counter, statistics)
            # the last one arrives at least once; of the others some never do
            messages += [message] * int(random.integers(1 if counter == 4 else 0, 4))
    fleet = Fleet()
    for index in random.permutation(len(messages)):
        fleet.send(messages[index])
        if random.random() < 0.01:
            fleet.restart()
        if random.random() < 0.1:
            fleet.pass_time(1.0)
    fleet.pass_time(1.0)
    published = heads(fleet.effects)[-1]
    everything = Statistics.of(codes, labels, CLASSES, SPACE)
    expected = fleet_head(model().training_statistics, everything)
    assert fleet.core.statistics == everything
    assert published.head.kernel.tobytes() == expected.kernel.tobytes()
    assert published.head.bias.tobytes() == expected.bias.tobytes()
    assert (published.devices, published.samples) == (devices, 2000)
