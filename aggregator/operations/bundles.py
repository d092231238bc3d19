"""Every bundle that a fleet knows of: which is handed out, ordered, and run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aggregator.bundle_sender import NOT_DEVICES
from aggregator.operations.deliveries import SHELF
from aggregator.registry import backfill
from aggregator.store import Store
from aggregator.store.rows import ROLLOUTS
from headway.bundle import read_container
from headway.errors import BundleError

# name, version and release: by these devices say what they run
Named = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class BundleUse:
    """One bundle, and who is to run it and does.

    sha256: of the file that is handed out, none without one; problem: why that cannot be read; ordered, running:
    devices; rollout: the newest one of it.
    """

    bundle: str
    version: str
    release: int
    sha256: str | None
    ordered: int
    running: int
    rollout: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A file that is handed out: what it is, or why it cannot be read."""

    sha256: str
    named: Named
    problem: str = ""


def handed_out(state_dir: Path) -> list[HandedOut]:
    """In no transaction: reading files takes its time."""
    return [_read(file, file.stat().st_mtime_ns) for file in sorted((state_dir / SHELF).glob("*.hwb"))]


def bundle_use(store: Store, files: list[HandedOut]) -> list[BundleUse]:
    """By name, the highest release first; files that cannot be read behind them. In a transaction."""
    backfill(store)
    told = store.registry.totals(("bundle", "bundle_version", "release"), ())
    running = Counter({(name, version, release): count for name, version, release, count in told if name})
    ordered = Counter[Named]()
    for (_, name, version, release), count in store.ordered(NOT_DEVICES).items():
        ordered[name, version, release] += count
    rollouts = sorted(store.rows(ROLLOUTS).all(), key=lambda row: row.number)
    of_rollout: dict[Named, str] = {(row.bundle, row.version, row.release): row.name for row in rollouts}
    shelved = {file.named: file.sha256 for file in files if not file.problem}
    broken = [BundleUse("", "", 0, file.sha256, 0, 0, None, file.problem) for file in files if file.problem]
    every = sorted({*running, *ordered, *of_rollout, *shelved}, key=lambda named: (named[0], -named[2], named[1]))
    found = [
        BundleUse(*named, shelved.get(named), ordered[named], running[named], of_rollout.get(named), None)
        for named in every
    ]
    return [*found, *broken]


@lru_cache(maxsize=256)
def _read(file: Path, changed_ns: int) -> HandedOut:
    """Reading a bundle checks it, which takes its time."""
    try:
        manifest = read_container(file).manifest
    except BundleError as error:
        return HandedOut(file.stem, ("", "", 0), str(error))
    name, version, release = (manifest.get(key) for key in ("name", "version", "release"))
    return HandedOut(file.stem, (str(name), str(version), release if isinstance(release, int) else 0))
