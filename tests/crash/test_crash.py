"""A short run of ``make crash``, to see that it works; three hundred faults take some minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.fleet import CrashFleet

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.slow]


def test_ten_faults(tmp_path: Path) -> None:
    kinds = ["kill", "backup", "live copy", "kill", "correction", "cold copy", "restore", "kill", "live copy", "kill"]
    with CrashFleet(tmp_path, devices=2, seed=1) as fleet:
        for kind in kinds:
            fleet.one_fault(kind)
        report = fleet.settle()
    assert report.labels == 10 * 2 * 4
    assert sum(report.faults.values()) == 10
    assert report.branches > 4
