"""The commands ``edge-fleet deliver`` and ``deliveries`` and their options; what they do is in deliver.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aggregator.commands.done import with_json
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, file_path, option
from headway.ports import SystemClock


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


@click.command("deliver", cls=_Deliver)
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
@with_json
def _deliver(config: Path | None, state_dir: str | None, wait_s: float, **given: Any) -> int:
    """Order a bundle for devices, or withdraw the order.

    BUNDLE is the on-device variant, .hwb. Leaves with 1 when --wait-s has passed and devices are missing.
    """
    from aggregator.commands.deliver import Order, deliver_bundle

    return deliver_bundle(Order(**given), reached(config, state_dir), SystemClock(), wait_s)


@click.command("deliveries", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _deliveries(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show what is ordered and how far it is."""
    from aggregator.commands.deliver import show_deliveries

    show_deliveries(reached(config, state_dir), as_json)


COMMANDS: tuple[click.Command, ...] = (_deliver, _deliveries)
