"""Implements what people put on devices: `edge-fleet tag`, `note` and `groups`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.audit import NAMES_MAX, local_user, record
from aggregator.commands.tables import aligned, print_table
from aggregator.registry import (
    Request,
    delete_group,
    device_names,
    group_kind,
    group_size,
    put_filter_group,
    put_list_group,
    set_note,
    set_tags,
)
from aggregator.store import Store
from aggregator.store.rows import GROUPS
from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json
from headway.names import checked_name
from headway.ports import Clock
from headway.printable import printable

HEADER = ("GROUP", "KIND", "DEVICES", "FILTER")
NUMBERS = frozenset({"DEVICES"})


def tag_devices(
    store: Store, clock: Clock, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]
) -> None:
    """``edge-fleet tag``. Raises ConfigError for a device that is not known or a tag that cannot be kept."""
    if bool(devices) == bool(wanted):
        raise ConfigError("give either names of devices or --filter")
    if not given and not unset:
        raise ConfigError("give --set NAME=VALUE or --unset NAME")
    with store.transaction():
        names = _known(store, devices) if devices else device_names(store, Request(wanted), clock.wall_s())
        set_tags(store, names, given, unset)
        tags: dict[str, JsonValue] = dict(given)
        detail: dict[str, JsonValue] = {"devices": [*names[:NAMES_MAX]], "set": tags, "unset": list(unset)}
        record(store, local_user(), "tag", counted(len(names)), clock.wall_s(), **detail)
    print(f"tagged {counted(len(names))}")


def note_device(store: Store, clock: Clock, name: str, text: str) -> None:
    """``edge-fleet note``. Raises ConfigError for a device that is not known."""
    with store.transaction():
        (device,) = _known(store, [name])
        set_note(store, device, text)
        record(store, local_user(), "note", device, clock.wall_s(), text=text)
    print(f"noted on {device}" if text else f"{device} has no note now")


def list_groups(store: Store, clock: Clock, in_json: bool) -> None:
    """``edge-fleet groups``."""
    with store.transaction():
        groups = [(row, group_size(store, row, clock.wall_s())) for row in store.rows(GROUPS).all()]
    if in_json:
        print(
            readable_json(
                [
                    {"group": row.name, "kind": group_kind(row), "devices": size, "filter": row.condition}
                    for row, size in groups
                ]
            )
        )
    elif groups:
        lines = [(row.name, str(group_kind(row)), str(size), row.condition or "-") for row, size in groups]
        lines = [tuple(map(printable, line)) for line in lines]  # type: ignore[misc]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print("there is no group; make one with edge-fleet groups save or edge-fleet groups list")


def save_group(store: Store, clock: Clock, name: str, wanted: str) -> None:
    """``edge-fleet groups save``. Raises ConfigError for a filter that is none."""
    with store.transaction():
        put_filter_group(store, name, wanted, clock.wall_s())
        record(store, local_user(), "save-group", name, clock.wall_s(), filter=wanted)
        row = store.rows(GROUPS).get(name)
        size = 0 if row is None else group_size(store, row, clock.wall_s())
    print(f"saved group {name}; {counted(size)} like that now")


def change_list(store: Store, clock: Clock, name: str, add: Sequence[str], remove: Sequence[str]) -> None:
    """``edge-fleet groups list``. Raises ConfigError for a device that is not known."""
    with store.transaction():
        put_list_group(store, name, _known(store, add), remove, clock.wall_s())
        listed: dict[str, JsonValue] = {"add": list(add[:NAMES_MAX]), "remove": list(remove[:NAMES_MAX])}
        record(store, local_user(), "list-group", name, clock.wall_s(), **listed)
        row = store.rows(GROUPS).get(name)
        size = 0 if row is None else group_size(store, row, clock.wall_s())
    print(f"group {name} lists {counted(size)}")


def forget_group(store: Store, clock: Clock, name: str) -> None:
    """``edge-fleet groups delete``. Raises ConfigError where there is none, or another group speaks of it."""
    with store.transaction():
        delete_group(store, name)
        record(store, local_user(), "delete-group", name, clock.wall_s())
    print(f"deleted group {name}")


def counted(count: int) -> str:
    """``1 device``, ``2 devices``."""
    return f"{count} device" + ("s" if count != 1 else "")


def _known(store: Store, names: Sequence[str]) -> list[str]:
    """The same names. Raises ConfigError for one that no device of the fleet has."""
    for name in names:
        if store.device(checked_name(name, "device")) is None:
            raise ConfigError(f"no device {name!r} in this fleet; `edge-fleet devices` lists them")
    return [*names]
