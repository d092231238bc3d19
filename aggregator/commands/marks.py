"""Implements what people put on devices: `edge-fleet tag`, `note` and `groups`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from aggregator.commands.tables import aligned, print_table
from aggregator.operations import (
    Operator,
    change_list,
    counted,
    forget_group,
    list_groups,
    note_device,
    save_group,
    tag_devices,
)
from aggregator.store import Store
from headway.errors import ConfigError
from headway.fields import readable_json
from headway.ports import Clock
from headway.printable import printable

HEADER = ("GROUP", "KIND", "DEVICES", "FILTER")
NUMBERS = frozenset({"DEVICES"})


def tag(
    store: Store, clock: Clock, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]
) -> None:
    """``edge-fleet tag``. Raises ConfigError for a device that is not known or a tag that cannot be kept."""
    if bool(devices) == bool(wanted):
        raise ConfigError("give either names of devices or --filter")
    if not given and not unset:
        raise ConfigError("give --set NAME=VALUE or --unset NAME")
    with store.transaction():
        names = tag_devices(Operator.local(store, clock), devices, wanted, given, unset)
    print(f"tagged {counted(len(names))}")


def note(store: Store, clock: Clock, name: str, text: str) -> None:
    """``edge-fleet note``. Raises ConfigError for a device that is not known."""
    with store.transaction():
        note_device(Operator.local(store, clock), name, text)
    print(f"noted on {name}" if text else f"{name} has no note now")


def show_groups(store: Store, clock: Clock, in_json: bool) -> None:
    """``edge-fleet groups``."""
    with store.transaction():
        groups = list_groups(Operator.local(store, clock))
    if in_json:
        print(readable_json([asdict(group) for group in groups]))
    elif groups:
        lines = [(group.group, group.kind, str(group.devices), group.filter or "-") for group in groups]
        lines = [tuple(map(printable, line)) for line in lines]  # type: ignore[misc]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print("there is no group; make one with edge-fleet groups save or edge-fleet groups list")


def save(store: Store, clock: Clock, name: str, wanted: str) -> None:
    """``edge-fleet groups save``. Raises ConfigError for a filter that is none."""
    with store.transaction():
        group = save_group(Operator.local(store, clock), name, wanted)
    print(f"saved group {name}; {counted(group.devices)} like that now")


def change(store: Store, clock: Clock, name: str, add: Sequence[str], remove: Sequence[str]) -> None:
    """``edge-fleet groups list``. Raises ConfigError for a device that is not known."""
    with store.transaction():
        group = change_list(Operator.local(store, clock), name, add, remove)
    print(f"group {name} lists {counted(group.devices)}")


def forget(store: Store, clock: Clock, name: str) -> None:
    """``edge-fleet groups delete``. Raises ConfigError where there is none, or another group speaks of it."""
    with store.transaction():
        forget_group(Operator.local(store, clock), name)
    print(f"deleted group {name}")
