"""What people put on devices: tags, notes and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregator.audit import NAMES_MAX
from aggregator.operations.operator import Operator
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
from aggregator.store.rows import GROUPS, MEMBERS, GroupRow
from headway.errors import ConfigError, UnknownNameError
from headway.fields import JsonValue


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group. kind: ``list`` or ``filter``; devices: how many belong to it now; filter: empty for a list."""

    group: str
    kind: str
    devices: int
    filter: str


def counted(count: int) -> str:
    """``1 device``, ``2 devices``."""
    return f"{count} device" + ("s" if count != 1 else "")


def tag_devices(
    operator: Operator, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]
) -> list[str]:
    """Set and take away tags of the named devices, or of those that a filter finds; returns their names.

    Raises ConfigError for a device that is not known or a tag that cannot be kept.
    """
    if bool(devices) == bool(wanted):
        raise ConfigError("give either names of devices or a filter")
    if not given and not unset:
        raise ConfigError("give a tag to set, as NAME=VALUE, or to unset")
    store = operator.store
    names = operator.known(devices) if devices else device_names(store, Request(wanted), operator.now_s)
    set_tags(store, names, given, unset)
    tags: dict[str, JsonValue] = dict(given)
    operator.did("tag", counted(len(names)), devices=[*names[:NAMES_MAX]], set=tags, unset=list(unset))
    return names


def note_device(operator: Operator, name: str, text: str) -> None:
    """Replace the note on a device. Raises ConfigError, UnknownNameError for a device that is not known."""
    device = operator.the(name)
    set_note(operator.store, device, text)
    operator.did("note", device, text=text)


def list_groups(operator: Operator) -> list[GroupView]:
    """Every group, by name."""
    return [_view(operator, row) for row in operator.store.rows(GROUPS).all()]


def group_view(operator: Operator, name: str) -> GroupView:
    """One group. Raises UnknownNameError."""
    row = operator.store.rows(GROUPS).get(name)
    if row is None:
        raise UnknownNameError(f"there is no group {name!r}; `edge-fleet groups` lists them")
    return _view(operator, row)


def members_of(operator: Operator, name: str) -> list[str]:
    """Who is on the list of a group; of a filter nobody is."""
    return sorted(row.device for row in operator.store.rows(MEMBERS).where(group_name=name))


def save_group(operator: Operator, name: str, wanted: str) -> GroupView:
    """Save a filter under a name. Raises ConfigError for a filter that is none."""
    if not wanted:
        raise ConfigError("a group that is a filter needs one; an empty one is a list of devices")
    put_filter_group(operator.store, name, wanted, operator.now_s)
    operator.did("save-group", name, filter=wanted)
    return group_view(operator, name)


def change_list(operator: Operator, name: str, add: Sequence[str], remove: Sequence[str]) -> GroupView:
    """Make a group that is a list, or change one. Raises ConfigError for a device that is not known."""
    put_list_group(operator.store, name, operator.known(add), remove, operator.now_s)
    operator.did("list-group", name, add=list(add[:NAMES_MAX]), remove=list(remove[:NAMES_MAX]))
    return group_view(operator, name)


def forget_group(operator: Operator, name: str) -> None:
    """Raises UnknownNameError where there is none, ConflictError where another group speaks of it."""
    delete_group(operator.store, name)
    operator.did("delete-group", name)


def _view(operator: Operator, row: GroupRow) -> GroupView:
    size = group_size(operator.store, row, operator.now_s)
    return GroupView(row.name, str(group_kind(row)), size, row.condition)
