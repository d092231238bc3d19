"""Implements ``edge-fleet heads``: the feature spaces that are served side by side, and the newest head of each."""

from __future__ import annotations

from dataclasses import asdict

from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.reach import Fleet

HEADER = ("SPACE", "BUNDLE", "HEAD", "METHOD", "DEVICES", "SAMPLES", "REPORTED", "STATE")
NUMBERS = frozenset({"HEAD", "DEVICES", "SAMPLES", "REPORTED"})


def show_heads(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet heads``."""
    views = fleet.spaces()
    if in_json:
        print_json_rows([asdict(view) for view in views])
    elif views:
        rows = [(view.space[:12], *map(str, list(asdict(view).values())[1:])) for view in views]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
    else:
        print("no bundle has been served yet")
