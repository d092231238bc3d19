"""The commands ``edge-fleet rollout ...`` and their options; what they do is in rollouts.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from aggregator.commands.done import with_json
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, Group, file_path, option
from headway.ports import SystemClock

ACTS = {
    "pause": "Do nothing more until it is resumed.",
    "resume": "Go on after a pause.",
    "approve": "Go on to the switch or the next stage, whatever labels say.",
    "halt": "Stop for good: who has not switched drops the bundle.",
    "roll-back": "Halt, and send everybody back to the bundle before.",
}


@click.group("rollout", cls=Group, no_args_is_help=False)
def rollout() -> None:
    """Bring a new bundle to the fleet in stages."""


@rollout.command("start", cls=Command)
@with_place
@click.argument("name", metavar="NAME")
@click.argument("bundle", type=file_path(), metavar="BUNDLE")
@option("--plan", type=file_path(), metavar="FILE", help="Stages and criteria (TOML); else 5 %, 25 %, all, a day each")
@option("--public-key", type=file_path(), metavar="FILE", help="Refuse what is not signed with this key")
@option("--dry-run", is_flag=True, help="Only say who would be in each stage, and how long labels would take")
@with_json
def _start(
    config: Path | None, state_dir: str | None, name: str, bundle: Path, plan: Path | None, public_key: Path | None,
    dry_run: bool,
) -> None:  # fmt: skip
    """Begin a rollout of BUNDLE (.hwb) under a NAME."""
    from aggregator.commands.rollouts import start_rollout

    start_rollout(name, bundle, plan, public_key, dry_run, reached(config, state_dir))


@rollout.command("list", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _list(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show all rollouts."""
    from aggregator.commands.rollouts import show_rollouts

    show_rollouts(reached(config, state_dir), SystemClock(), as_json)


@rollout.command("show", cls=Command)
@with_place
@click.argument("name", metavar="NAME")
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _show(config: Path | None, state_dir: str | None, name: str, as_json: bool) -> None:
    """Show one rollout and its devices."""
    from aggregator.commands.rollouts import show_rollout

    show_rollout(name, reached(config, state_dir), as_json)


def _act(act: str) -> Callable[..., None]:
    def command(config: Path | None, state_dir: str | None, name: str, remark: str) -> None:
        from aggregator.commands.rollouts import steer_rollout
        from aggregator.rollouts import Act

        steer_rollout(name, Act(act), remark, reached(config, state_dir))

    return command


for _name, _help in ACTS.items():
    _with_remark = option("--remark", remark=True, default="", metavar="TEXT", help="Why; kept with the act")(
        _act(_name)
    )
    _with_name = click.argument("name", metavar="NAME")(_with_remark)
    rollout.command(_name, cls=Command, help=_help)(with_place(with_json(_with_name)))

COMMANDS: tuple[click.Command, ...] = (rollout,)
