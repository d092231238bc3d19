"""The commands of ``edge-fleet`` that only look, and completion; what they do is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.place_options import looked_at, reached, with_place
from headway.command_line import Command, completion_script, option
from headway.ports import SystemClock

EXPORTED = ("devices", "days", "events", "refusals", "audit")


@click.command("events", cls=Command)
@with_place
@option("--device", group="Which", default="", metavar="DEVICE", help="Of this device only")
@option("--name", group="Which", default="", metavar="EVENT", help="Of this kind only, such as drift")
@option(
    "--limit", group="Which", type=click.IntRange(1, 100_000), default=100, show_default=True, metavar="N",
    help="At most so many, the newest",
)  # fmt: skip
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _events(
    config: Path | None, state_dir: str | None, device: str, name: str, limit: int, as_json: bool
) -> None:  # fmt: skip
    """Show what devices told of themselves, newest first."""
    from aggregator.commands.events import list_events

    list_events(reached(config, state_dir), device, name, limit, as_json)


@click.command("refusals", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _refusals(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show what was refused, of whom, how often and why."""
    from aggregator.commands.events import list_refusals

    list_refusals(looked_at(config, state_dir), as_json)


@click.command("bundles", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _bundles(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List bundles: which are handed out, ordered, and run."""
    from aggregator.commands.bundles import list_bundles

    list_bundles(reached(config, state_dir), as_json)


@click.command("export", cls=Command)
@with_place
@click.argument("what", type=click.Choice(EXPORTED), metavar="WHAT")
def _export(config: Path | None, state_dir: str | None, what: str) -> None:
    """Print devices, days, events, refusals or audit as JSON lines.

    A JSON object on each line. days: of each device and day the labels, accuracies and bytes, for 400 days.
    """
    from aggregator.commands.export import Exported, export

    export(reached(config, state_dir), Exported(what))


@click.command("watch", cls=Command)
@with_place
@option(
    "--every-s", group="Screen", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, metavar="S",
    help="Seconds between two looks",
)  # fmt: skip
@option("--once", group="Screen", is_flag=True, help="Look once, and leave")
@option("--json", "as_json", is_flag=True, help="Look once, print JSON, and leave")
def _watch(config: Path | None, state_dir: str | None, every_s: float, once: bool, as_json: bool) -> None:
    """Show the fleet on the terminal as it changes; q ends it."""
    from aggregator.commands.watch import watch

    watch(reached(config, state_dir), SystemClock(), every_s, once, as_json)


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="SHELL")
@click.pass_context
def _completion(context: click.Context, shell: str) -> None:
    """Print what makes bash, zsh or fish complete this program's words.

    bash: eval "$(edge-fleet completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: edge-fleet completion
    fish > ~/.config/fish/completions/edge-fleet.fish
    """
    print(completion_script(context.find_root().command, "edge-fleet", shell))


COMMANDS: tuple[click.Command, ...] = (_events, _refusals, _bundles, _export, _watch, _completion)
