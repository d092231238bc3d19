"""The commands ``edge-fleet heads`` and ``verify``, and their options."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.place import Place
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, option


@click.command("heads", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _heads(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show the feature spaces that are served side by side, and the newest head of each."""
    from aggregator.commands.heads import show_heads

    show_heads(reached(config, state_dir), as_json)


@click.command("verify", cls=Command)
@with_place
def _verify(config: Path | None, state_dir: str | None) -> None:
    """Add up all stored reports and compare with the kept sums.

    The service may run meanwhile. Leaves with an error where they differ.
    """
    from aggregator.commands.verify import verify_sums

    verify_sums(Place(config, state_dir).store())


COMMANDS: tuple[click.Command, ...] = (_heads, _verify)
