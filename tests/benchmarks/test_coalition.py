"""Twenty of a hundred devices that lie alike, with eight labels each: real digits; no single liar says enough."""

from __future__ import annotations

from functools import partial

import numpy as np

from aggregator.heads.outliers import Outliers
from benchmarks.attacked_fleets import digits
from benchmarks.attacks import Attack, chosen, flooded, rotated
from headway.maths import merge


def caught(attack: Attack) -> tuple[int, int]:
    """Malicious and honest devices that are named."""
    fleet, random = digits(100, 0), np.random.default_rng((0, 1))
    bad = chosen(fleet, 0.2, 1, random)
    tables = {
        f"d{at:03}": attack(fleet, rows, random) if at in bad else fleet.tables(rows)
        for at, rows in enumerate(fleet.devices)
    }
    outliers = Outliers(fleet.source, 0.02)
    portraits = {name: outliers.portrait(part) for name, part in tables.items()}
    found = outliers.judge(portraits, dict.fromkeys(tables, 1.0), merge(tables.values()), tables.__getitem__)
    named = [int(name[1:]) in bad for name, one in found.items() if one.named]
    return sum(named), len(named) - sum(named)


def test_a_fifth_of_many_devices_with_few_labels_each_does_not_vouch_for_each_other() -> None:
    assert caught(partial(flooded, 3, 1)) == (20, 0)
    malicious, honest = caught(partial(rotated, 3, 0.75, 1))
    assert malicious >= 10
    assert honest == 0
