"""A short run of ``make crash``, to see that it works; two hundred kills take some minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.fleet import CrashFleet

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.slow]


def test_ten_kills(tmp_path: Path) -> None:
    with CrashFleet(tmp_path, devices=2, seed=1) as fleet:
        for _ in range(10):
            fleet.kill_one()
        report = fleet.settle()
    assert report.labels == 10 * 2 * 4
    assert sum(report.killed.values()) == 10
