"""The command ``edge-fleet audit`` and its options; what it does is in audit.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, option


@click.command("audit", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table, to be kept elsewhere")
@option("--verify", is_flag=True, help="Check that no entry was changed, added or taken away")
def _audit(config: Path | None, state_dir: str | None, as_json: bool, verify: bool) -> None:
    """Show who did what to the fleet."""
    from aggregator.commands.audit import show_audit

    show_audit(reached(config, state_dir), as_json, verify)


COMMANDS: tuple[click.Command, ...] = (_audit,)
