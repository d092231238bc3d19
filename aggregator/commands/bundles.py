"""Implements `edge-fleet bundles`: what is handed out, what is ordered, and what runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aggregator.bundle_sender import NOT_DEVICES
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import SHELF
from aggregator.registry import backfill
from aggregator.store import RegistryQuery, Store
from aggregator.store.rows import ROLLOUTS
from headway.bundle import read_container
from headway.errors import BundleError
from headway.fields import JsonValue
from headway.printable import printable

HEADER = ("BUNDLE", "VERSION", "RELEASE", "ORDERED", "RUN IT", "ROLLOUT", "FILE")
NUMBERS = frozenset({"RELEASE", "ORDERED", "RUN IT"})
SHA256_SHOWN = 12

# name, version and release: by these devices say what they run
Named = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class BundleLine:
    """One bundle. sha256: of the file that is handed out, '' where none is; problem: why that cannot be read.

    ordered, running: devices; rollout: the newest one of it.
    """

    named: Named
    sha256: str
    ordered: int
    running: int
    rollout: str
    problem: str = ""

    def plain(self) -> JsonValue:
        name, version, release = self.named
        return {
            "bundle": name, "version": version, "release": release, "sha256": self.sha256 or None,
            "ordered": self.ordered, "running": self.running, "rollout": self.rollout or None,
            "problem": self.problem or None,
        }  # fmt: skip

    def cells(self) -> tuple[str, ...]:
        name, version, release = self.named
        shown = (name or "?", version or "-", str(release), str(self.ordered), str(self.running), self.rollout or "-",
                 self.problem or self.sha256[:SHA256_SHOWN] or "-")  # fmt: skip
        return tuple(map(printable, shown))


def list_bundles(store: Store, folder: Path, in_json: bool) -> None:
    """``edge-fleet bundles``. folder: the state folder of the service."""
    lines = _lines(store, folder)
    if in_json:
        print_json_rows([line.plain() for line in lines])
    elif lines:
        cells = [line.cells() for line in lines]
        print_table(HEADER, cells, aligned([HEADER, *cells]), NUMBERS)
    else:
        print("no device has told what it runs, and nothing was ordered yet")


def _lines(store: Store, folder: Path) -> list[BundleLine]:
    with store.transaction():
        backfill(store)
        rows = store.registry.find(RegistryQuery(), 0.0)
        orders = [row for row in store.deliveries() if row.device not in NOT_DEVICES and row.sha256]
        rollouts = sorted(store.rows(ROLLOUTS).all(), key=lambda row: row.number)
    running = Counter((row.bundle, row.bundle_version, row.release) for row in rows if row.bundle)
    ordered = Counter((row.name, row.version, row.release) for row in orders)
    of_rollout: dict[Named, str] = {(row.bundle, row.version, row.release): row.name for row in rollouts}
    files, broken = _shelf(folder / SHELF)
    every = {*running, *ordered, *of_rollout, *files}
    found = [
        BundleLine(named, files.get(named, ""), ordered[named], running[named], of_rollout.get(named, ""))
        for named in sorted(every, key=lambda named: (named[0], -named[2], named[1]))
    ]
    return [*found, *broken]


def _shelf(folder: Path) -> tuple[dict[Named, str], list[BundleLine]]:
    """sha256 of each file that can be read, and a line for each that cannot."""
    files: dict[Named, str] = {}
    broken = []
    for path in sorted(folder.glob("*.hwb")):
        try:
            manifest = read_container(path).manifest
            name, version, release = (manifest.get(key) for key in ("name", "version", "release"))
            files[str(name), str(version), release if isinstance(release, int) else 0] = path.stem
        except BundleError as error:
            broken.append(BundleLine(("", "", 0), path.stem, 0, 0, "", str(error)))
    return files, broken
