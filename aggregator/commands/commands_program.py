"""The commands of ``edge-fleet`` that tell devices to do something; what they do is in remote_commands.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, option
from headway.ports import SystemClock


@click.command("command", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@click.argument("name", metavar="COMMAND")
@click.argument("given", nargs=-1, metavar="[NAME=VALUE]...")
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
    config: Path | None, state_dir: str | None, device: str, name: str, given: tuple[str, ...], expires: str,
    wait_s: float, as_json: bool,
) -> int:  # fmt: skip
    """Tell a device to do something, once.

    COMMAND is sync-now, train-now, ask-for-labels [count=N], label window=ID class=NAME, restart or diagnostics. Leaves
    with 1 when --wait-s has passed and it is not done.
    """
    from aggregator.commands.remote_commands import command_device

    fleet = reached(config, state_dir)
    return command_device(fleet, SystemClock(), device, name, given, expires, wait_s, as_json)


@click.command("commands", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@option("--json", "as_json", is_flag=True, help="Print JSON, with whole results")
def _commands(config: Path | None, state_dir: str | None, device: str, as_json: bool) -> None:
    """Show what a device was told to do, and what came of it."""
    from aggregator.commands.remote_commands import list_commands

    list_commands(reached(config, state_dir), SystemClock(), device, as_json)


COMMANDS: tuple[click.Command, ...] = (_command, _commands)
