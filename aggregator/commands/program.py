"""The commands of ``edge-fleet`` and their options, on click; what they do is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

import headway
from aggregator.commands.place import STATE_DIR, Place
from aggregator.config import Settings
from aggregator.policy import Method
from headway.command_line import Command, Group, file_path, option
from headway.errors import ConfigError
from headway.logs import log_to_stderr
from headway.ports import SystemClock
from headway.settings import Kind, entries, limits

SETTINGS = {f"{entry.table}.{entry.key}": entry for entry in entries(Settings)}
LEVELS = ("debug", "info", "warning", "error")


@click.group(cls=Group, no_args_is_help=False)
@option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What to write to stderr")
@click.version_option(headway.__version__, message="edge-fleet %(version)s", help="Show this program's version.")
def edge_fleet(log_level: str) -> None:
    """Combines what a fleet of devices learned."""
    log_to_stderr(log_level, "%(levelname)s %(name)s %(message)s")


def _with_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where the store is."""
    config = option("--config", group="Place", type=file_path(), metavar="FILE", help="aggregator.toml")
    state_dir = option(
        "--state-dir", group="Place", type=click.Path(), metavar="DIR", default_elsewhere=STATE_DIR,
        help="Where the store is",
    )  # fmt: skip
    made: Callable[..., Any] = config(state_dir(command))
    return made


def _overruling(place: str, *names: str, group: str, **given: Any) -> Callable[[Any], Any]:
    """An option that wins over a setting of the file (``table.key``), whose sentence, default and limits it shows."""
    entry = SETTINGS[place]
    shown = {"limits": limits(entry.setting)} if entry.setting.kind in (Kind.INTEGER, Kind.NUMBER) else {}
    if not entry.required:
        shown["default_elsewhere"] = f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
    return option(*names, group=group, help=entry.setting.doc.rstrip("."), **shown, **given)


@edge_fleet.command("serve")
@_with_place
@_overruling("bundle.path", "--bundle", group="Fleet", type=click.Path(), metavar="FILE")
@_overruling("fleet.name", "--fleet", group="Fleet", metavar="NAME")
@_overruling("mqtt.host", "--host", group="Broker", metavar="NAME")
@_overruling("mqtt.port", "--port", group="Broker", type=int, metavar="N")
@_overruling("publish.method", "--method", group="Heads", type=click.Choice(tuple(map(str, Method))))
@_overruling("publish.interval_s", "--publish-interval-s", "--publish-interval", group="Heads", type=float, metavar="S")
def _serve(config: Path | None, state_dir: str | None, **given: Any) -> int:
    """Run the aggregator of one fleet.

    Give --config, or at least --bundle and --fleet; an option wins over the file.
    """
    from aggregator.commands.serve import serve

    return serve(Place(config, state_dir).settings(**given))


@edge_fleet.command("devices")
@_with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _devices(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List the fleet's devices."""
    from aggregator.commands.devices import list_devices

    list_devices(Place(config, state_dir).store(), SystemClock(), as_json)


@edge_fleet.command("remove")
@_with_place
@click.argument("device", metavar="DEVICE")
def _remove(config: Path | None, state_dir: str | None, device: str) -> None:
    """Subtract what a device contributed and forget the device."""
    from aggregator.commands.devices import remove_device

    remove_device(device, Place(config, state_dir), SystemClock())


@edge_fleet.command("readmit")
@_with_place
@click.argument("device", metavar="DEVICE")
def _readmit(config: Path | None, state_dir: str | None, device: str) -> None:
    """Count again what was set aside of a device."""
    from aggregator.commands.devices import readmit_device

    readmit_device(device, Place(config, state_dir))


@edge_fleet.command(
    "simulate", add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def _simulate(rest: tuple[str, ...]) -> int:
    """What a fleet asks of network, broker, aggregator."""
    # a program of its own, which runs agents too: it comes through an entry point, never by an import
    for command in entry_points(group="headway.commands", name="simulate"):
        code: int = command.load()(list(rest))
        return code
    raise ConfigError(
        "edge-fleet simulate needs the package headway_simulation, which is not installed here; install headway whole"
    )


class _Deliver(Command):
    """``--devices A B C`` takes every name up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        naming = False
        for position, word in enumerate(args):
            naming = word == "--devices" or (naming and not word.startswith("-"))
            if naming and word != "--devices" and args[position - 1] != "--devices":
                spread.append("--devices")
            spread.append(word)
        return super().parse_args(ctx, spread)


@edge_fleet.command("deliver", cls=_Deliver)
@_with_place
@click.argument("bundle", type=file_path(), required=False, metavar="[BUNDLE]")
@option("--devices", group="Order", multiple=True, metavar="DEVICE...", help="Who should run it")
@option("--all", "everybody", group="Order", is_flag=True, help="Every device, those that join later, the aggregator")
@option("--withdraw", group="Order", is_flag=True, help="Order nothing, so that what is not switched stays off")
@option("--public-key", group="Order", type=file_path(), metavar="FILE", help="Refuse what is not signed with this key")
@option(
    "--wait-s", group="Order", type=float, default=0.0, metavar="S", default_elsewhere="0", limits="0 to 86,400",
    help="Show for so many seconds how many devices run it",
)  # fmt: skip
def _deliver(config: Path | None, state_dir: str | None, wait_s: float, **given: Any) -> int:
    """Order a bundle for devices, or withdraw the order.

    BUNDLE is the on-device variant, .hwb. Leaves with 1 when --wait-s has passed and devices are missing.
    """
    from aggregator.commands.deliver import Order, deliver_bundle

    return deliver_bundle(Order(**given), Place(config, state_dir), SystemClock(), wait_s)


@edge_fleet.command("deliveries")
@_with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _deliveries(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show what is ordered and how far it is."""
    from aggregator.commands.deliver import list_deliveries

    list_deliveries(Place(config, state_dir).store(), as_json)


@edge_fleet.command("enroll")
@_with_place
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
def _enroll(config: Path | None, state_dir: str | None, **given: Any) -> None:
    """Print a code with which a device joins.

    A code for NAME can be used once; with --reusable instead of a name, by --count-max devices.
    """
    from aggregator.commands.enrolment import enroll

    enroll(Place(config, state_dir).configured(), SystemClock(), **given)


@edge_fleet.command("revoke")
@_with_place
@click.argument("device", metavar="NAME")
def _revoke(config: Path | None, state_dir: str | None, device: str) -> None:
    """Shut a lost device out, now and for good."""
    from aggregator.commands.enrolment import revoke

    revoke(device, Place(config, state_dir).configured(), SystemClock())


@edge_fleet.command("certificates")
@_with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _certificates(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List which devices have joined, and until when their certificates are good."""
    from aggregator.commands.enrolment import list_certificates

    list_certificates(Place(config, state_dir).store(), SystemClock(), as_json)


@edge_fleet.command("join-server")
@_with_place
def _join_server(config: Path | None, state_dir: str | None) -> int:
    """Serve the address at which devices join."""
    from aggregator.commands.join_server import serve_joins

    return serve_joins(Place(config, state_dir).configured(), SystemClock())


@edge_fleet.command("broker-config")
@_with_place
@click.argument("folder", type=file_path(), metavar="DIR")
@option("--name", "hosts", group="Broker", multiple=True, metavar="NAME", help="Name or address by which it is reached")
@option("--user", group="Broker", default="mosquitto", show_default=True, help="The user as whom mosquitto runs")
@option(
    "--persistence", group="Broker", type=file_path(), default="/var/lib/mosquitto", show_default=True, metavar="DIR",
    help="Where it keeps its messages",
)  # fmt: skip
def _broker_config(config: Path | None, state_dir: str | None, **given: Any) -> None:
    """Write a configuration of mosquitto for this fleet into DIR."""
    from aggregator.commands.enrolment import write_broker_config

    write_broker_config(Place(config, state_dir).configured(), SystemClock(), **given)
