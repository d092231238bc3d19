"""The commands of ``edge-fleet`` that find, mark and group devices; what they do is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.done import with_json
from aggregator.commands.place_options import looked_at, reached, with_place
from headway.clocks import SystemClock
from headway.command_line import Command, Group, file_path, option
from headway.errors import ConfigError

FILTER_HELP = """Only devices like that: 'labels > 50 and tag.site == "north"' (docs/howto/find-devices.md)"""


@click.command("devices", cls=Command)
@with_place
@option("--filter", "wanted", group="Which", default="", metavar="FILTER", help=FILTER_HELP)
@option("--sort", group="Which", default="", metavar="FIELD", help="By this field; -FIELD: from the largest")
@option("--limit", group="Which", type=click.IntRange(1, 100_000), metavar="N", help="At most so many")
@option("--after", group="Which", default="", metavar="CURSOR", help="Go on where a list with --limit ended")
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _devices(
    config: Path | None, state_dir: str | None, wanted: str, sort: str, limit: int | None, after: str, as_json: bool
) -> None:
    """List the fleet's devices."""
    from aggregator.commands.device_list import list_devices
    from aggregator.registry import Request

    list_devices(looked_at(config, state_dir), SystemClock(), Request(wanted, sort, after, limit), as_json)


@click.command("device", cls=Command)
@with_place
@click.argument("name", metavar="DEVICE")
@option(
    "--days", type=click.IntRange(0, 400), default=7, show_default=True, metavar="N", help="Days to show, the last ones"
)
@option("--confusion", is_flag=True, help="What it takes for what, served and frozen, instead")
@option("--heads", is_flag=True, help="The heads that served, and how often each was right, instead")
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _device(
    config: Path | None, state_dir: str | None, name: str, days: int, confusion: bool, heads: bool, as_json: bool
) -> None:  # fmt: skip
    """Show everything about one device."""
    from aggregator.commands.devices import show_confusion, show_device, show_heads_of

    if confusion and heads:
        raise ConfigError("give --confusion or --heads, not both")
    fleet = reached(config, state_dir)
    if confusion:
        show_confusion(name, fleet, as_json)
    elif heads:
        show_heads_of(name, fleet, as_json)
    else:
        show_device(name, fleet, SystemClock(), days, as_json)


@click.command("tag", cls=Command)
@with_place
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@option("--filter", "wanted", group="Which", default="", metavar="FILTER", help=FILTER_HELP)
@option(
    "--set", "given", group="Tags", multiple=True, metavar="NAME=VALUE", help="Set a tag; NAME alone: without a value"
)
@option("--unset", group="Tags", multiple=True, metavar="NAME", help="Take a tag away")
@with_json
def _tag(
    config: Path | None,
    state_dir: str | None,
    devices: tuple[str, ...],
    wanted: str,
    given: tuple[str, ...],
    unset: tuple[str, ...],
) -> None:
    """Set tags of devices, or take tags away."""
    from aggregator.commands.marks import tag

    named = dict(_named(text) for text in given)
    tag(reached(config, state_dir), devices, wanted, named, unset)


@click.command("note", cls=Command)
@with_place
@click.argument("name", metavar="DEVICE")
@click.argument("text", metavar="TEXT")
@with_json
def _note(config: Path | None, state_dir: str | None, name: str, text: str) -> None:
    """Put a note on a device in place of the one before; an empty TEXT takes it away."""
    from aggregator.commands.marks import note

    note(reached(config, state_dir), name, text)


@click.group("groups", cls=Group, no_args_is_help=False, invoke_without_command=True)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
@click.pass_context
def _groups(context: click.Context, config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List groups; make, change and delete them with the commands below."""
    from aggregator.commands.marks import show_groups

    if context.invoked_subcommand is None:
        show_groups(reached(config, state_dir), as_json)


@_groups.command("save")
@with_place
@click.argument("name", metavar="GROUP")
@click.argument("wanted", metavar="FILTER")
@with_json
def _save(config: Path | None, state_dir: str | None, name: str, wanted: str) -> None:
    """Save a filter under a name: a device belongs to the group while it is like that."""
    from aggregator.commands.marks import save

    save(reached(config, state_dir), name, wanted)


@_groups.command("list")
@with_place
@click.argument("name", metavar="GROUP")
@option("--add", group="Devices", multiple=True, metavar="DEVICE", help="Put a device on the list")
@option("--remove", group="Devices", multiple=True, metavar="DEVICE", help="Take a device off the list")
@with_json
def _list(config: Path | None, state_dir: str | None, name: str, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Make a group that is a list of devices, or change one."""
    from aggregator.commands.marks import change

    change(reached(config, state_dir), name, add, remove)


@_groups.command("delete")
@with_place
@click.argument("name", metavar="GROUP")
@with_json
def _delete(config: Path | None, state_dir: str | None, name: str) -> None:
    """Forget a group; its devices stay."""
    from aggregator.commands.marks import forget

    forget(reached(config, state_dir), name)


@click.command("remove", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@with_json
def _remove(config: Path | None, state_dir: str | None, device: str) -> None:
    """Subtract what a device contributed and forget the device."""
    from aggregator.commands.devices import remove_device

    remove_device(device, reached(config, state_dir), SystemClock())


@click.command("forget", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@option("--since", default="", metavar="TIME", help="Only what came since the newest daily mark before TIME (UTC)")
@option("--class", "class_name", default="", metavar="NAME", help="Ask the device for its labels of a class")
@option("--expires", default="7d", show_default=True, metavar="DURATION", help="With --class: when to give up")
@with_json
def _forget(config: Path | None, state_dir: str | None, device: str, since: str, class_name: str, expires: str) -> None:
    """Take out of the fleet what a device contributed, to the bit, and leave a signed record.

    Without --since and --class all of it, and the device with it, as remove does.
    """
    from aggregator.commands.removals import forget

    forget(device, since, class_name, expires, reached(config, state_dir), SystemClock())


@click.command("removals", cls=Command)
@with_place
@option("--export", "folder", type=file_path(), metavar="FOLDER", help="Write each record to a file instead")
@with_json
def _removals(config: Path | None, state_dir: str | None, folder: Path | None) -> None:
    """List what was taken out of the fleet on request."""
    from aggregator.commands.removals import show_removals

    show_removals(reached(config, state_dir), folder)


@click.command("quarantine", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@option("--reason", remark=True, default="", metavar="TEXT", help="Why, for those who look at the device")
@with_json
def _quarantine(config: Path | None, state_dir: str | None, device: str, reason: str) -> None:
    """Count nothing that a device reports; readmit ends it."""
    from aggregator.commands.devices import quarantine

    quarantine(device, reason, reached(config, state_dir))


@click.command("readmit", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@with_json
def _readmit(config: Path | None, state_dir: str | None, device: str) -> None:
    """Count again what was set aside of a device."""
    from aggregator.commands.devices import readmit

    readmit(device, reached(config, state_dir))


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise ConfigError(f"--set {text!r} names no tag; write --set NAME=VALUE")
    return name, value


COMMANDS: tuple[click.Command, ...] = (
    _devices,
    _device,
    _tag,
    _note,
    _groups,
    _remove,
    _forget,
    _removals,
    _quarantine,
    _readmit,
)
