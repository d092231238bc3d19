"""The benchmark's life in phases, on a contender whose memory is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import phases
from benchmarks.datasets import Rows
from benchmarks.tasks import Device
from edge_agent.pipeline import Features
from headway.arrays import Float32, Int64


class Newest:
    """Says the class it was taught last, whatever it sees."""

    def __init__(self) -> None:
        self.last = 0
        self.blocks: list[int] = []

    def predict(self, features: Features) -> Int64:
        return np.full(len(features), self.last)

    def learn(self, features: Features, labels: Int64) -> None:
        self.blocks.append(len(labels))
        self.last = int(labels[-1])


def rows(labels: list[int]) -> Rows:
    return Rows(np.zeros((len(labels), 2), np.float32), np.array(labels))


def features(x: Float32) -> Features:
    return Features(x, x.astype(np.int8))


def test_every_phase_is_tested_after_each() -> None:
    tests = [rows([0, 0, 0, 1]), rows([1, 1]), rows([2, 0])]
    device = Device("d", rows([1, 1, 1, 2, 2]), {}, ((0, tests[0]), (3, tests[1]), (5, tests[2])))
    contender = Newest()
    tested = [features(part.x) for part in tests]
    accuracy = phases.live(contender, device, features(device.taught.x), tested, block=2)
    assert contender.blocks == [2, 1, 2]
    assert accuracy.tolist() == [[0.75, 0.0, 0.5], [0.25, 1.0, 0.0], [0.0, 0.0, 0.5]]
    scores = phases.scores(accuracy)
    assert scores["backward transfer"] == pytest.approx(((0.0 - 0.75) + (0.0 - 1.0)) / 2)
    assert scores["forgetting"] == pytest.approx((0.75 + 1.0) / 2)
    lines = phases.table([[scores], [scores]])
    assert [line.split()[-3:] for line in lines[1:]] == [["75.0", "0.0", "50.0"], ["25.0", "100.0", "0.0"],
                                                         ["0.0", "0.0", "50.0"]]  # fmt: skip
