"""Implements what people put on devices: `edge-fleet tag`, `note` and `groups`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from aggregator.commands.done import say
from aggregator.commands.tables import aligned, print_table
from aggregator.operations import counted
from aggregator.reach import Fleet
from headway.errors import ConfigError
from headway.fields import readable_json
from headway.printable import printable

HEADER = ("GROUP", "KIND", "DEVICES", "FILTER")
NUMBERS = frozenset({"DEVICES"})


def tag(fleet: Fleet, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]) -> None:
    """``edge-fleet tag``. Raises ConfigError for a device that is not known or a tag that cannot be kept."""
    if bool(devices) == bool(wanted):
        raise ConfigError("give either names of devices or --filter")
    if not given and not unset:
        raise ConfigError("give --set NAME=VALUE or --unset NAME")
    count = fleet.tag(devices, wanted, given, unset)
    say(f"tagged {counted(count)}", devices=count)


def note(fleet: Fleet, name: str, text: str) -> None:
    """``edge-fleet note``. Raises ConfigError for a device that is not known."""
    fleet.note(name, text)
    say(f"noted on {name}" if text else f"{name} has no note now", device=name, note=text)


def show_groups(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet groups``."""
    groups = fleet.groups()
    if in_json:
        print(readable_json([asdict(group) for group in groups]))
    elif groups:
        lines = [(group.group, group.kind, str(group.devices), group.filter or "-") for group in groups]
        lines = [tuple(map(printable, line)) for line in lines]  # type: ignore[misc]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print("there is no group; make one with edge-fleet groups save or edge-fleet groups list")


def save(fleet: Fleet, name: str, wanted: str) -> None:
    """``edge-fleet groups save``. Raises ConfigError for a filter that is none."""
    group = fleet.save_group(name, wanted)
    say(f"saved group {name}; {counted(group.devices)} like that now", **asdict(group))


def change(fleet: Fleet, name: str, add: Sequence[str], remove: Sequence[str]) -> None:
    """``edge-fleet groups list``. Raises ConfigError for a device that is not known."""
    group = fleet.change_list(name, add, remove)
    say(f"group {name} lists {counted(group.devices)}", **asdict(group))


def forget(fleet: Fleet, name: str) -> None:
    """``edge-fleet groups delete``. Raises ConfigError where there is none, or another group speaks of it."""
    fleet.forget_group(name)
    say(f"deleted group {name}", deleted=name)
