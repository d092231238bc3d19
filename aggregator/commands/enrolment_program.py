"""The commands of ``edge-fleet`` with which devices join and are shut out; see the modules beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aggregator.commands.done import with_json
from aggregator.commands.place import Place
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, file_path, option
from headway.ports import SystemClock


@click.command("enroll", cls=Command)
@with_place
@click.argument("device", required=False, metavar="[NAME]")
@option("--groups", group="Code", default="", metavar="A,B", help="Groups that the device belongs to")
@option("--reusable", group="Code", is_flag=True, help="For several devices, which name themselves")
@option("--count-max", group="Code", type=int, default=1, show_default=True, metavar="N", help="How many devices")
@option(
    "--expires",
    group="Code",
    default="24h",
    show_default=True,
    metavar="TIME",
    help="When it ends: 30m, 24h or 7d from now",
)
@with_json
def _enroll(config: Path | None, state_dir: str | None, **given: Any) -> None:
    """Print a code with which a device joins.

    A code for NAME can be used once; with --reusable instead of a name, by --count-max devices.
    """
    from aggregator.commands.enrolment import enroll

    enroll(reached(config, state_dir, first=True), **given)


@click.command("revoke", cls=Command)
@with_place
@click.argument("device", metavar="NAME")
@with_json
def _revoke(config: Path | None, state_dir: str | None, device: str) -> None:
    """Shut a lost device out, now and for good."""
    from aggregator.commands.enrolment import revoke_device

    revoke_device(device, reached(config, state_dir, first=True))


@click.command("certificates", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _certificates(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List which devices have joined, and until when their certificates are good."""
    from aggregator.commands.enrolment import show_certificates

    show_certificates(reached(config, state_dir), as_json)


@click.command("join-server", cls=Command)
@with_place
def _join_server(config: Path | None, state_dir: str | None) -> int:
    """Serve the address at which devices join."""
    from aggregator.commands.join_server import serve_joins

    return serve_joins(Place(config, state_dir).configured(), SystemClock())


@click.command("broker-config", cls=Command)
@with_place
@click.argument("folder", type=file_path(), metavar="DIR")
@option("--name", "hosts", group="Broker", multiple=True, metavar="NAME", help="Name or address by which it is reached")
@option("--user", group="Broker", default="mosquitto", show_default=True, help="The user as whom mosquitto runs")
@option(
    "--persistence", group="Broker", type=file_path(), default="/var/lib/mosquitto", show_default=True, metavar="DIR",
    help="Where it keeps its messages",
)  # fmt: skip
@with_json
def _broker_config(config: Path | None, state_dir: str | None, **given: Any) -> None:
    """Write a configuration of mosquitto for this fleet into DIR."""
    from aggregator.commands.enrolment import write_broker_config

    write_broker_config(Place(config, state_dir).configured(), SystemClock(), **given)


COMMANDS: tuple[click.Command, ...] = (_enroll, _revoke, _certificates, _join_server, _broker_config)
