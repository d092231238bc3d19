"""Bundles that are kept to be handed out, who should run which, and how far each device is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from aggregator.audit import NAMES_MAX
from aggregator.bundle_sender import BEFORE, EVERYBODY, NOT_DEVICES, FileShelf, order
from aggregator.operations.operator import Operator
from aggregator.rollouts import OPEN
from aggregator.store import DeliveryRow, Store
from aggregator.store.rows import ROLLOUTS
from headway.bundle import read_public_key, read_variant
from headway.durable import write_durably
from headway.errors import ConfigError, ConflictError, RemoteError, StoreError, UnknownNameError
from headway.printable import printable
from headway.wire import Reported

SHELF = "bundles"
THERE = "there"
NO_BUNDLE = DeliveryRow(EVERYBODY, "", 0, "", "", 0, "", 0.0)


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A device's order. ordered: the release, or ``none``; runs: likewise, ``-`` for not known; state: in words."""

    device: str
    ordered: str
    runs: str
    state: str


def shelf_in(state_dir: Path) -> FileShelf:
    """Where the aggregator of a state folder keeps the bundles that it hands out."""
    return FileShelf(state_dir / SHELF)


def shelve(bundle: Path, state_dir: Path, public_key: Path | None, now_s: float) -> DeliveryRow:
    """Check a bundle as a device would, and keep a copy to hand out. In no transaction: it takes its time.

    Raises BundleError, ConfigError for a key that is none, StoreError when the disk refuses.
    """
    row = described(bundle, public_key, now_s)
    shelf = shelf_in(state_dir)
    try:
        payload = bundle.read_bytes()
        shelf.path(row.sha256).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot keep {bundle} in {state_dir}: {error.strerror or error}") from error
    write_durably(shelf.path(row.sha256), payload)
    return row


def described(bundle: Path, public_key: Path | None, now_s: float) -> DeliveryRow:
    """An order for the bundle of a file, for everybody. Raises BundleError, ConfigError for a key that is none."""
    variant = read_variant(bundle, public_key=None if public_key is None else read_public_key(public_key))
    try:
        payload = bundle.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {bundle}: {error.strerror or error}") from error
    sha256 = hashlib.sha256(payload).hexdigest()
    return DeliveryRow(
        EVERYBODY, sha256, len(payload), variant.name, variant.version, variant.release, variant.space, now_s
    )


def shelved(sha256: str, state_dir: Path, now_s: float) -> DeliveryRow:
    """An order for a bundle that is kept. Raises UnknownNameError where there is none."""
    path = shelf_in(state_dir).path(sha256)
    if not path.exists():
        raise UnknownNameError(f"no bundle {sha256} is kept; upload it first")
    return replace(_kept(path, path.stat().st_mtime_ns), ordered_s=now_s)


def kept_bundles(state_dir: Path, now_s: float) -> list[DeliveryRow]:
    """Orders for each bundle that is kept, the highest release first. Raises BundleError for one that is damaged."""
    files = sorted((state_dir / SHELF).glob("*.hwb"))
    rows = (replace(_kept(file, file.stat().st_mtime_ns), ordered_s=now_s) for file in files)
    return sorted(rows, key=lambda row: (-row.release, row.sha256))


def bundle_count(state_dir: Path) -> int:
    """How many bundles are kept."""
    return sum(1 for _ in (state_dir / SHELF).glob("*.hwb"))


@lru_cache(maxsize=256)
def _kept(file: Path, changed_ns: int) -> DeliveryRow:
    """Reading a bundle checks it, which takes its time."""
    return described(file, None, 0.0)


def delete_bundle(operator: Operator, sha256: str, state_dir: Path) -> None:
    """Raises UnknownNameError where there is none, ConflictError where somebody is to run it."""
    path, store = shelf_in(state_dir).path(sha256), operator.store
    if not path.exists():
        raise UnknownNameError(f"no bundle {sha256} is kept")
    ordered = {row.device for row in store.deliveries() if row.sha256 == sha256}
    if ordered == {BEFORE}:
        raise ConflictError(
            f"bundle {sha256} is what devices that join get again if the last rollout is rolled back; it can be "
            "deleted when another rollout has ended"
        )
    if ordered:
        raise ConflictError(f"bundle {sha256} is ordered; withdraw the order first")
    if any(row.sha256 == sha256 and row.state in OPEN for row in store.rows(ROLLOUTS).all()):
        raise ConflictError(f"bundle {sha256} is being rolled out; halt the rollout first")
    operator.did("delete-bundle", sha256)
    path.unlink()


def order_bundle(operator: Operator, row: DeliveryRow, devices: Sequence[str], everybody: bool) -> list[str]:
    """Order a bundle, or with `NO_BUNDLE` withdraw orders; the service sees it within its housekeeping interval.

    Returns whom it is for. Raises ConfigError for a device that is not known.
    """
    if bool(devices) == everybody:
        raise ConfigError("give either names of devices or all")
    names = operator.known(devices)
    targets = order(
        operator.store,
        replace(row, ordered_s=operator.now_s),
        names,
        everybody=everybody,
        known=lambda: [found.device for found in operator.store.devices()],
    )
    told = ["all"] if everybody else targets[:NAMES_MAX]
    operator.did(
        "deliver" if row.sha256 else "withdraw", row.sha256, devices=[*told], count=len(targets), name=row.name,
        version=row.version, release=row.release
    )  # fmt: skip
    return targets


def list_deliveries(store: Store) -> list[DeliveryView]:
    """What is ordered, and what each device says about it. In a transaction."""
    rows = [row for row in store.deliveries() if row.device not in NOT_DEVICES]
    said = {row.device: row.reported for row in store.devices()}
    return [_view(row, said.get(row.device, b"")) for row in rows]


def _view(row: DeliveryRow, payload: bytes) -> DeliveryView:
    try:
        reported = Reported.decode(payload) if payload else None
    except RemoteError:
        reported = None
    runs = "-" if reported is None else str(reported.release)
    state = "has not reported" if reported is None else printable(reported.delivery)
    if reported is not None and row.sha256 and reported.release == row.release and not state:
        state = THERE
    if not row.done:
        state = "not told yet"
    return DeliveryView(row.device, str(row.release) if row.sha256 else "none", runs, state)
