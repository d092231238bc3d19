"""Implements ``edge-fleet heads``: the feature spaces that are served side by side, and the newest head of each."""

from __future__ import annotations

from dataclasses import asdict

from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import SpaceView
from aggregator.reach import Fleet
from headway.errors import ConfigError
from headway.fields import json_line
from headway.printable import printable

HEADER = ("SPACE", "BUNDLE", "HEAD", "METHOD", "DEVICES", "SAMPLES", "REPORTED", "STATE", "HELD")
NUMBERS = frozenset({"HEAD", "DEVICES", "SAMPLES", "REPORTED", "HELD"})


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


def hold_head(fleet: Fleet, version: int, space: str, in_json: bool) -> None:
    """``edge-fleet heads --hold``, ``--let-go``. version: 0 lets the held head go. space: its first digits."""
    found = _the_space(fleet.spaces(), space)
    fleet.hold_head(found.space, version)
    if version:
        words = f"head {version} of {found.bundle} is published again within seconds, and held"
        words += ": edge-fleet heads --let-go"
    else:
        words = f"head {found.held} of {found.bundle} is let go; the next head is made of all that devices have learned"
    if in_json:
        print(json_line({"space": found.space, "bundle": found.bundle, "held": version}))
    else:
        print(printable(words))


def _the_space(views: list[SpaceView], digits: str) -> SpaceView:
    fitting = [view for view in views if view.space.startswith(digits)]
    if len(fitting) != 1:
        known = ", ".join(f"{view.space[:12]} ({view.bundle})" for view in views) or "none"
        raise ConfigError(f"{len(fitting)} feature spaces begin with {digits!r}; give --space, of {known}")
    return fitting[0]
