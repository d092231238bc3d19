"""The commands ``edge-fleet serve`` and ``worker`` and their options; what they do is in serve.py and worker.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aggregator.commands.place import Place
from aggregator.commands.place_options import with_place
from aggregator.config import Settings
from aggregator.engine_settings import EngineKind
from aggregator.policy import Method
from headway.command_line import Command, option
from headway.settings import Kind, entries, limits

SETTINGS = {f"{entry.table}.{entry.key}": entry for entry in entries(Settings)}


def _overruling(place: str, *names: str, group: str, **given: Any) -> Callable[[Any], Any]:
    """An option that wins over a setting of the file (``table.key``), whose sentence, default and limits it shows."""
    entry = SETTINGS[place]
    shown = {"limits": limits(entry.setting)} if entry.setting.kind in (Kind.INTEGER, Kind.NUMBER) else {}
    if not entry.required:
        shown["default_elsewhere"] = f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
    return option(*names, group=group, help=entry.setting.doc.rstrip("."), **shown, **given)


@click.command("serve", cls=Command)
@with_place
@_overruling("bundle.path", "--bundle", group="Fleet", type=click.Path(), metavar="FILE")
@_overruling("fleet.name", "--fleet", group="Fleet", metavar="NAME")
@_overruling("mqtt.host", "--host", group="Broker", metavar="NAME")
@_overruling("mqtt.port", "--port", group="Broker", type=int, metavar="N")
@_overruling("publish.method", "--method", group="Heads", type=click.Choice(tuple(map(str, Method))))
@_overruling("publish.interval_s", "--publish-interval-s", "--publish-interval", group="Heads", type=float, metavar="S")
@_overruling("engine.kind", "--engine", "kind", group="Engine", type=click.Choice(tuple(map(str, EngineKind))))
@_overruling("engine.address", "--address", group="Engine", metavar="ADDRESS")
def _serve(config: Path | None, state_dir: str | None, **given: Any) -> int:
    """Run the aggregator of one fleet.

    Give --config, or at least --bundle and --fleet; an option wins over the file.
    """
    from aggregator.commands.serve import serve

    return serve(Place(config, state_dir).settings(**given))


@click.command("worker", cls=Command)
@with_place
@option("--name", metavar="NAME", required=True, help="Of this worker; no other one that runs has it")
def _worker(config: Path | None, state_dir: str | None, name: str) -> int:
    """Take in reports beside edge-fleet serve, with others.

    Needs [workers] enabled, PostgreSQL, and edge-fleet serve on the same database.
    """
    from aggregator.commands.worker import work

    return work(Place(config, state_dir).configured(), name)


COMMANDS: tuple[click.Command, ...] = (_serve, _worker)
