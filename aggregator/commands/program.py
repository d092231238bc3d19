"""The commands of ``edge-fleet`` and their options, on click; what they do is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

import headway
from aggregator.commands.alerts_program import ALERT_COMMANDS
from aggregator.commands.enrolment_program import ENROLMENT_COMMANDS
from aggregator.commands.place import Place
from aggregator.commands.place_options import with_place
from aggregator.commands.registry_program import REGISTRY_COMMANDS
from aggregator.commands.rollout_program import rollout
from aggregator.commands.settings_program import SETTINGS_COMMANDS
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


def _overruling(place: str, *names: str, group: str, **given: Any) -> Callable[[Any], Any]:
    """An option that wins over a setting of the file (``table.key``), whose sentence, default and limits it shows."""
    entry = SETTINGS[place]
    shown = {"limits": limits(entry.setting)} if entry.setting.kind in (Kind.INTEGER, Kind.NUMBER) else {}
    if not entry.required:
        shown["default_elsewhere"] = f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
    return option(*names, group=group, help=entry.setting.doc.rstrip("."), **shown, **given)


@edge_fleet.command("serve")
@with_place
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


for _command in (*REGISTRY_COMMANDS, *ENROLMENT_COMMANDS, *SETTINGS_COMMANDS, *ALERT_COMMANDS, rollout):
    edge_fleet.add_command(_command)


@edge_fleet.command("remove")
@with_place
@click.argument("device", metavar="DEVICE")
def _remove(config: Path | None, state_dir: str | None, device: str) -> None:
    """Subtract what a device contributed and forget the device."""
    from aggregator.commands.devices import remove_device

    remove_device(device, Place(config, state_dir), SystemClock())


@edge_fleet.command("readmit")
@with_place
@click.argument("device", metavar="DEVICE")
def _readmit(config: Path | None, state_dir: str | None, device: str) -> None:
    """Count again what was set aside of a device."""
    from aggregator.commands.devices import readmit_device

    readmit_device(device, Place(config, state_dir), SystemClock())


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
@with_place
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
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _deliveries(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show what is ordered and how far it is."""
    from aggregator.commands.deliver import list_deliveries

    list_deliveries(Place(config, state_dir).store(), as_json)


@edge_fleet.command("verify")
@with_place
def _verify(config: Path | None, state_dir: str | None) -> None:
    """Add up all stored reports and compare with the kept sums.

    The service may run meanwhile. Leaves with an error where they differ.
    """
    from aggregator.commands.verify import verify_sums

    verify_sums(Place(config, state_dir).store())


@edge_fleet.command("audit")
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table, to be kept elsewhere")
@option("--verify", is_flag=True, help="Check that no entry was changed, added or taken away")
def _audit(config: Path | None, state_dir: str | None, as_json: bool, verify: bool) -> None:
    """Show who did what to the fleet."""
    from aggregator.commands.audit import show_audit

    show_audit(Place(config, state_dir).store(), as_json, verify)
