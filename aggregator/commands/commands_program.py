"""The commands of ``edge-fleet`` that tell devices to do something; what they do is in remote_commands.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, option
from headway.errors import ConfigError
from headway.ports import SystemClock


@click.command("command", cls=Command)
@with_place
@click.argument("words", nargs=-1, required=True, metavar="[DEVICE] COMMAND [NAME=VALUE]...")
@option("--filter", "wanted", group="Many", default="", metavar="FILTER", help="Every device like that, not DEVICE")
@option("--group", group="Many", default="", metavar="GROUP", help="Every device of this group, not DEVICE")
@option(
    "--expires", default="1h", show_default=True, metavar="TIME",
    help="When it ends if the device is not there: 30m, 24h or 7d from now",
)  # fmt: skip
@option(
    "--wait-s", type=float, default=0.0, metavar="S", default_elsewhere="0", limits="0 to 86,400",
    help="Wait so many seconds for the result",
)  # fmt: skip
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _command(
    config: Path | None, state_dir: str | None, words: tuple[str, ...], wanted: str, group: str, expires: str,
    wait_s: float, as_json: bool,
) -> int:  # fmt: skip
    """Tell a device, or many, to do something, once.

    COMMAND is sync-now, train-now, ask-for-labels [count=N], label window=ID class=NAME, undo-label window=ID,
    skip-window window=ID, restart, roll-back [release=N], renew-prior, forget-class class=NAME or diagnostics.
    Leaves with 1 when --wait-s has passed and it is not done.
    """
    from aggregator.commands.remote_commands import command_device, command_many

    fleet = reached(config, state_dir)
    if wanted or group:
        return command_many(
            fleet, SystemClock(), wanted, group, words[0], words[1:], expires, wait_s, as_json
        )  # fmt: skip
    if len(words) < 2:
        raise ConfigError(f"give DEVICE and COMMAND, or --filter or --group; got {words[0]!r} alone")
    return command_device(fleet, SystemClock(), words[0], words[1], words[2:], expires, wait_s, as_json)


@click.command("commands", cls=Command)
@with_place
@click.argument("device", default="", metavar="[DEVICE]")
@option(
    "--with", "number", type=click.IntRange(1, 2**53), metavar="NUMBER",
    help="What was asked for together with this one, of all devices",
)  # fmt: skip
@option("--json", "as_json", is_flag=True, help="Print JSON, with whole results")
def _commands(config: Path | None, state_dir: str | None, device: str, number: int | None, as_json: bool) -> None:
    """Show what a device, or many, were told to do, and what came of it."""
    from aggregator.commands.remote_commands import list_commands, show_many

    if bool(device) == (number is not None):
        raise ConfigError("give either DEVICE or --with NUMBER")
    fleet = reached(config, state_dir)
    if number is not None:
        show_many(fleet, number, as_json)
    else:
        list_commands(fleet, SystemClock(), device, as_json)


COMMANDS: tuple[click.Command, ...] = (_command, _commands)
