"""The commands of ``edge-fleet`` for settings of devices; what they do is in settings.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.done import with_json
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, option
from headway.errors import ConfigError


@click.command("configure", cls=Command)
@with_place
@click.argument("given", nargs=-1, metavar="[TABLE.KEY=VALUE]...")
@option("--device", group="Whose", metavar="NAME", help="One device; wins over groups and fleet")
@option("--group", group="Whose", metavar="NAME", help="The devices of a group; wins over the fleet")
@option("--everybody", group="Whose", is_flag=True, help="The whole fleet")
@option("--priority", type=int, metavar="N", help="Of a group: where a device is in several, the highest wins")
@option("--unset", multiple=True, metavar="TABLE.KEY", help="Give the device's own file its say again")
@with_json
def _configure(
    config: Path | None,
    state_dir: str | None,
    given: tuple[str, ...],
    device: str | None,
    group: str | None,
    everybody: bool,
    priority: int | None,
    unset: tuple[str, ...],
) -> None:
    """Change settings of devices from afar.

    Only keys that docs/configuration.md marks; a device that cannot take a value keeps the old one and says why.
    """
    from aggregator.commands.settings import configure
    from aggregator.store.rows import DEVICE, FLEET, GROUP

    asked = ((DEVICE, device), (GROUP, group), (FLEET, "" if everybody else None))
    named = [(scope, name) for scope, name in asked if name is not None]
    if len(named) != 1:
        raise ConfigError("give one of --device NAME, --group NAME and --everybody")
    configure(reached(config, state_dir), *named[0], given, unset, priority)


@click.command("configuration", cls=Command)
@with_place
@click.argument("device", required=False, metavar="[DEVICE]")
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _configuration(config: Path | None, state_dir: str | None, device: str | None, as_json: bool) -> None:
    """Show what is set from afar; of a DEVICE also what holds there, and why the rest does not."""
    from aggregator.commands.settings import list_wanted, show_settings

    fleet = reached(config, state_dir)
    if device is None:
        list_wanted(fleet, as_json)
    else:
        show_settings(device, fleet, as_json)


COMMANDS: tuple[click.Command, ...] = (_configure, _configuration)
