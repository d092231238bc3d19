"""Implements `edge-fleet deliver` and `deliveries`, and chooses the bundle that the aggregator itself serves."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from aggregator.bundle_sender import FileShelf
from aggregator.commands.count import Count
from aggregator.commands.done import say, wants_json
from aggregator.commands.tables import print_table
from aggregator.config import Settings
from aggregator.operations import NO_BUNDLE, THERE, counted, shelf_in
from aggregator.reach import Fleet
from aggregator.store import Store
from headway.bundle import read_container
from headway.errors import BundleError, ConfigError
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.wire import AGGREGATOR, checked_name

HEADER, NUMBERS = ("DEVICE", "ORDERED", "RUNS", "STATE"), frozenset({"ORDERED", "RUNS"})
WAIT_S_MAX, WAIT_POLL_S = 86_400.0, 0.5


def shelf_of(settings: Settings) -> FileShelf:
    """Where this aggregator keeps the bundles it hands out."""
    return shelf_in(settings.state_dir)


def serving(settings: Settings, store: Store) -> Path:
    """The bundle to serve: the one the fleet has moved to, unless it went back or the configured one is newer."""
    with store.transaction():
        rows = [row for row in store.deliveries() if row.device == AGGREGATOR]
    followed = shelf_of(settings).path(rows[0].sha256) if rows and rows[0].sha256 else None
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


def deliver_bundle(wanted: Order, fleet: Fleet, clock: Clock, wait_s: float = 0.0) -> int:
    """``edge-fleet deliver``: write the order; the running service sees it within its housekeeping interval.

    The bundle is copied into the service's state folder, to be handed out. wait_s: show so long how many devices run
    it. Returns the exit code: 1 when some do not by then.
    """
    if not 0 <= wait_s <= WAIT_S_MAX:
        raise ConfigError(f"--wait-s {wait_s:g} must be from 0 to {WAIT_S_MAX:,.0f} seconds")
    row = NO_BUNDLE if wanted.bundle is None else fleet.keep_bundle(wanted.bundle, wanted.public_key)
    count = fleet.order(row, wanted.devices, wanted.everybody)
    later = " and every device that joins" if wanted.everybody else ""
    what = f"{row.name} {row.version}, release {row.release}" if row.sha256 else "no bundle"
    if not wants_json():
        print(f"ordered {what} for {counted(count)}{later}", flush=True)
    waits = wait_s > 0 and bool(row.sha256)
    there = waits and _arrived(fleet, None if wanted.everybody else frozenset(wanted.devices), clock, wait_s)
    if wants_json():
        waited: dict[str, JsonValue] = {"there": there} if waits else {}
        say("", bundle=row.name, version=row.version, release=row.release, sha256=row.sha256, devices=count, **waited)
    elif waits and not there:
        print(f"not all of them after {wait_s:g} s; `edge-fleet deliveries` shows how far each is")
    return int(waits and not there)


def show_deliveries(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet deliveries``: what is ordered, and what each device says about it."""
    views = fleet.deliveries()
    if in_json:
        print(readable_json([asdict(view) for view in views]))
    elif views:
        plain = "\n".join(
            f"{view.device:<20} ordered {view.ordered:<8} runs {view.runs:<8} {view.state}" for view in views
        )
        print_table(HEADER, [(view.device, view.ordered, view.runs, view.state) for view in views], plain, NUMBERS)
    else:
        print("nothing is ordered")


def _arrived(fleet: Fleet, devices: Collection[str] | None, clock: Clock, wait_s: float) -> bool:
    """Show how many of the devices run what is ordered, until all do (True) or the time is over (False).

    devices: None for all that have an order now.
    """
    deadline_s = clock.monotonic_s() + wait_s
    named = {view.device for view in fleet.deliveries()} if devices is None else devices
    with Count(sys.stderr if wants_json() else sys.stdout, clock, len(named), "devices run it") as count:
        while True:
            states = [view.state for view in fleet.deliveries() if view.device in named]
            count(states.count(THERE))
            if states.count(THERE) == len(named):
                return True
            if clock.monotonic_s() >= deadline_s:
                return False
            time.sleep(min(WAIT_POLL_S, max(0.0, deadline_s - clock.monotonic_s())))


def _release(bundle: Path) -> int:
    release = read_container(bundle).manifest.get("release")
    if not isinstance(release, int):
        raise BundleError(f"{bundle} names no release")
    return release
