"""The table of expansions: what auto picked, what it gained, and how far it is from the best."""

from __future__ import annotations

from benchmarks.expansion import CHOICES, named, table


def test_what_auto_gained_and_missed_is_counted_by_seed() -> None:
    none, few = CHOICES[:2]
    scores = {none: [[0.90, 0.80], [0.92, 0.80]], few: [[0.94, 0.85], [0.91, 0.85]]}
    lines = table("a stream", scores, picked=[few, few])
    assert "| none | 91.00 +- 1.00 | 80.00 +- 0.00 | 0 of 2 |" in lines
    assert "| 64 of the embedding | 92.50 +- 1.50 | 85.00 +- 0.00 | 2 of 2 |" in lines
    assert "device's own: auto is +1.50 points from none and 0.50 short of each seed's best" in lines
    assert "never forgets: auto is +5.00 points from none and 0.00 short of each seed's best" in lines


def test_choices_have_names() -> None:
    assert [named(choice) for choice in CHOICES][:4] == [
        "none", "64 of the embedding", "192 of the embedding", "64 of the input",
    ]  # fmt: skip
