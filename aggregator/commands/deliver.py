"""The operator's side of deliveries: order a bundle, withdraw it, look how far it is; and which bundle to serve."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from aggregator.bundle_sender import EVERYBODY, NOT_DEVICES, FileShelf, order
from aggregator.config import Settings
from aggregator.store import DeliveryRow, Store
from aggregator.store.sql import SqlStore
from headway.bundle import read_container, read_public_key, read_variant
from headway.durable import write_durably
from headway.errors import BundleError, ConfigError, RemoteError, StoreError
from headway.ports import Clock
from headway.wire import AGGREGATOR, Reported, checked_name

SHELF = "bundles"


def shelf_of(settings: Settings) -> FileShelf:
    """Where this aggregator keeps the bundles it hands out."""
    return FileShelf(settings.state_dir / SHELF)


def serving(settings: Settings, store: Store) -> Path:
    """The bundle to serve: the one the fleet has moved to, unless the configured one is a newer release."""
    with store.transaction():
        rows = [row for row in store.deliveries() if row.device == AGGREGATOR]
    followed = shelf_of(settings).path(rows[0].sha256) if rows else None
    if followed is None or not followed.exists():
        return settings.bundle
    if settings.bundle.exists() and _release(settings.bundle) > rows[0].release:
        return settings.bundle
    return followed


def deliver_bundle(options: argparse.Namespace, state_dir: Path, store: SqlStore, clock: Clock) -> int:
    """``edge-fleet deliver``: write the order; the running service sees it within its housekeeping interval.

    state_dir: of the service, where the bundle is kept to be handed out.
    """
    devices = [checked_name(name, "device") for name in options.devices or []]
    if bool(devices) == options.all:
        raise ConfigError("give either --devices NAME ... or --all")
    if options.withdraw == (options.bundle is not None):
        raise ConfigError("give either a bundle or --withdraw")
    row = DeliveryRow(EVERYBODY, "", 0, "", "", 0, "", clock.wall_s())
    if options.bundle is not None:
        row = _shelve(options.bundle, state_dir, options.public_key, clock)
    with store.transaction():
        unknown = [name for name in devices if store.device(name) is None]
        if unknown:
            raise ConfigError(f"no device {unknown[0]!r} in this fleet; `edge-fleet devices` lists them")
        targets = order(
            store, row, devices, everybody=options.all, known=lambda: [found.device for found in store.devices()]
        )
    later = " and every device that joins" if options.all else ""
    what = f"{row.name} {row.version}, release {row.release}" if row.sha256 else "no bundle"
    print(f"ordered {what} for {len(targets)} device{'' if len(targets) == 1 else 's'}{later}")
    return 0


def list_deliveries(options: argparse.Namespace, store: SqlStore) -> int:
    """``edge-fleet deliveries``: what is ordered, and what each device says about it."""
    with store.transaction():
        rows = [row for row in store.deliveries() if row.device not in NOT_DEVICES]
        said = {row.device: row.reported for row in store.devices()}
    table = [_line(row, said.get(row.device, b"")) for row in rows]
    if options.json:
        print(json.dumps(table, indent=2))
        return 0
    for line in table:
        print(f"{line['device']:<20} ordered {line['ordered']:<8} runs {line['runs']:<8} {line['state']}")
    if not table:
        print("nothing is ordered")
    return 0


def _line(row: DeliveryRow, payload: bytes) -> dict[str, object]:
    try:
        reported = Reported.decode(payload) if payload else None
    except RemoteError:
        reported = None
    runs = "-" if reported is None else str(reported.release)
    state = "has not reported" if reported is None else reported.delivery
    if reported is not None and row.sha256 and reported.release == row.release and not state:
        state = "there"
    if not row.done:
        state = "not told yet"
    ordered = str(row.release) if row.sha256 else "none"
    return {"device": row.device, "ordered": ordered, "runs": runs, "state": state}


def _shelve(bundle: Path, state_dir: Path, public_key: Path | None, clock: Clock) -> DeliveryRow:
    """Check a bundle as a device would, and keep a copy to hand out."""
    key = None if public_key is None else read_public_key(public_key)
    variant = read_variant(bundle, public_key=key)
    try:
        payload = bundle.read_bytes()
        shelf = state_dir / SHELF
        shelf.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot keep {bundle} in {state_dir}: {error.strerror or error}") from error
    sha256 = hashlib.sha256(payload).hexdigest()
    write_durably(FileShelf(shelf).path(sha256), payload)
    return DeliveryRow(
        EVERYBODY, sha256, len(payload), variant.name, variant.version, variant.release, variant.space, clock.wall_s()
    )


def _release(bundle: Path) -> int:
    release = read_container(bundle).manifest.get("release")
    if not isinstance(release, int):
        raise BundleError(f"{bundle} names no release")
    return release
