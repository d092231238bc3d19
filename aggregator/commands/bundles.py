"""Implements `edge-fleet bundles`: what is handed out, what is ordered, and what runs."""

from __future__ import annotations

from dataclasses import asdict

from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import BundleUse
from aggregator.reach import Fleet
from headway.printable import printable

HEADER = ("BUNDLE", "VERSION", "RELEASE", "ORDERED", "RUN IT", "ROLLOUT", "FILE")
NUMBERS = frozenset({"RELEASE", "ORDERED", "RUN IT"})
SHA256_SHOWN = 12


def list_bundles(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet bundles``."""
    found = fleet.bundle_use()
    if in_json:
        print_json_rows([asdict(each) for each in found])
    elif found:
        cells = [_cells(each) for each in found]
        print_table(HEADER, cells, aligned([HEADER, *cells]), NUMBERS)
    else:
        print("no device has told what it runs, and nothing was ordered yet")


def _cells(use: BundleUse) -> tuple[str, ...]:
    shown = (
        use.bundle or "?", use.version or "-", str(use.release), str(use.ordered), str(use.running),
        use.rollout or "-", use.problem or (use.sha256 or "")[:SHA256_SHOWN] or "-",
    )  # fmt: skip
    return tuple(map(printable, shown))
