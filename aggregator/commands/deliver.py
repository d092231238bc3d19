"""Implements `edge-fleet deliver` and `deliveries`, and chooses the bundle that the aggregator itself serves."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from aggregator.audit import NAMES_MAX, local_user, record
from aggregator.bundle_sender import EVERYBODY, NOT_DEVICES, FileShelf, order
from aggregator.commands.count import Count
from aggregator.commands.place import Place
from aggregator.commands.tables import print_table
from aggregator.config import Settings
from aggregator.store import DeliveryRow, Store
from headway.bundle import read_container, read_public_key, read_variant
from headway.durable import write_durably
from headway.errors import BundleError, ConfigError, RemoteError, StoreError
from headway.fields import readable_json
from headway.ports import Clock
from headway.printable import printable
from headway.wire import AGGREGATOR, Reported, checked_name

SHELF = "bundles"
HEADER, NUMBERS = ("DEVICE", "ORDERED", "RUNS", "STATE"), frozenset({"ORDERED", "RUNS"})
WAIT_S_MAX, WAIT_POLL_S = 86_400.0, 0.5


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


@dataclass(frozen=True, slots=True)
class Order:
    """What ``edge-fleet deliver`` was told: a bundle or its withdrawal, for some devices or for everybody."""

    bundle: Path | None
    devices: tuple[str, ...]
    everybody: bool
    withdraw: bool
    public_key: Path | None

    def __post_init__(self) -> None:
        for name in self.devices:
            checked_name(name, "device")
        if bool(self.devices) == self.everybody:
            raise ConfigError("give either --devices NAME ... or --all")
        if self.withdraw == (self.bundle is not None):
            raise ConfigError("give either a bundle or --withdraw")


def deliver_bundle(wanted: Order, place: Place, clock: Clock, wait_s: float = 0.0) -> int:
    """``edge-fleet deliver``: write the order; the running service sees it within its housekeeping interval.

    The bundle is copied into the service's state folder, to be handed out. wait_s: show so long how many devices run
    it. Returns the exit code: 1 when some do not by then.
    """
    if not 0 <= wait_s <= WAIT_S_MAX:
        raise ConfigError(f"--wait-s {wait_s:g} must be from 0 to {WAIT_S_MAX:,.0f} seconds")
    store = place.store()
    row = DeliveryRow(EVERYBODY, "", 0, "", "", 0, "", clock.wall_s())
    if wanted.bundle is not None:
        row = shelve(wanted.bundle, place.folder(), wanted.public_key, clock)
    with store.transaction():
        unknown = [name for name in wanted.devices if store.device(name) is None]
        if unknown:
            raise ConfigError(f"no device {unknown[0]!r} in this fleet; `edge-fleet devices` lists them")
        targets = order(
            store,
            row,
            list(wanted.devices),
            everybody=wanted.everybody,
            known=lambda: [found.device for found in store.devices()],
        )
        told = ["all"] if wanted.everybody else targets[:NAMES_MAX]
        record(
            store, local_user(), "deliver" if row.sha256 else "withdraw", row.sha256, clock.wall_s(),
            devices=[*told], count=len(targets), name=row.name, version=row.version, release=row.release
        )  # fmt: skip
    later = " and every device that joins" if wanted.everybody else ""
    what = f"{row.name} {row.version}, release {row.release}" if row.sha256 else "no bundle"
    print(f"ordered {what} for {len(targets)} device{'' if len(targets) == 1 else 's'}{later}", flush=True)
    if not wait_s or not row.sha256:
        return 0
    if _arrived(store, set(targets) - set(NOT_DEVICES), clock, wait_s):
        return 0
    print(f"not all of them after {wait_s:g} s; `edge-fleet deliveries` shows how far each is")
    return 1


def list_deliveries(store: Store, in_json: bool) -> None:
    """``edge-fleet deliveries``: what is ordered, and what each device says about it."""
    table = _lines(store)
    if in_json:
        print(readable_json(table))
    elif table:
        plain = "\n".join(
            f"{line['device']:<20} ordered {line['ordered']:<8} runs {line['runs']:<8} {line['state']}"
            for line in table
        )
        print_table(HEADER, [tuple(line.values()) for line in table], plain, NUMBERS)
    else:
        print("nothing is ordered")


def _arrived(store: Store, devices: Collection[str], clock: Clock, wait_s: float) -> bool:
    """Show how many of the devices run what is ordered, until all do (True) or the time is over (False)."""
    deadline_s = clock.monotonic_s() + wait_s
    with Count(sys.stdout, clock, len(devices), "devices run it") as count:
        while True:
            states = [line["state"] for line in _lines(store) if line["device"] in devices]
            count(states.count("there"))
            if states.count("there") == len(devices):
                return True
            if clock.monotonic_s() >= deadline_s:
                return False
            time.sleep(min(WAIT_POLL_S, max(0.0, deadline_s - clock.monotonic_s())))


def _lines(store: Store) -> list[dict[str, str]]:
    with store.transaction():
        rows = [row for row in store.deliveries() if row.device not in NOT_DEVICES]
        said = {row.device: row.reported for row in store.devices()}
    return [_line(row, said.get(row.device, b"")) for row in rows]


def _line(row: DeliveryRow, payload: bytes) -> dict[str, str]:
    try:
        reported = Reported.decode(payload) if payload else None
    except RemoteError:
        reported = None
    runs = "-" if reported is None else str(reported.release)
    state = "has not reported" if reported is None else printable(reported.delivery)
    if reported is not None and row.sha256 and reported.release == row.release and not state:
        state = "there"
    if not row.done:
        state = "not told yet"
    ordered = str(row.release) if row.sha256 else "none"
    return {"device": row.device, "ordered": ordered, "runs": runs, "state": state}


def shelve(bundle: Path, state_dir: Path, public_key: Path | None, clock: Clock) -> DeliveryRow:
    """Check a bundle as a device would, and keep a copy to hand out."""
    key = None if public_key is None else read_public_key(public_key)
    variant = read_variant(bundle, public_key=key)
    sha256 = keep_on_shelf(bundle, state_dir)
    size = FileShelf(state_dir / SHELF).path(sha256).stat().st_size
    return DeliveryRow(
        EVERYBODY, sha256, size, variant.name, variant.version, variant.release, variant.space, clock.wall_s()
    )


def keep_on_shelf(bundle: Path, state_dir: Path) -> str:
    """Keep a copy of a bundle in the service's state folder; returns the sha256 of its bytes. Raises StoreError."""
    shelf = state_dir / SHELF
    try:
        payload = bundle.read_bytes()
        shelf.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot keep {bundle} in {state_dir}: {error.strerror or error}") from error
    sha256 = hashlib.sha256(payload).hexdigest()
    path = FileShelf(shelf).path(sha256)
    # written anew where its bytes are damaged
    if not path.exists() or path.read_bytes() != payload:
        write_durably(path, payload)
    return sha256


def _release(bundle: Path) -> int:
    release = read_container(bundle).manifest.get("release")
    if not isinstance(release, int):
        raise BundleError(f"{bundle} names no release")
    return release
