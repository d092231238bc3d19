"""The commands of ``edge-fleet`` for alerts and their options; what they do is in alerts.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.done import with_json
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, Group, option
from headway.ports import SystemClock


@click.command("alerts", cls=Command)
@with_place
@option("--all", "closed_too", is_flag=True, help="Those that are over, too")
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _alerts(config: Path | None, state_dir: str | None, closed_too: bool, as_json: bool) -> None:
    """Show open alerts, and channels that cannot be told of them."""
    from aggregator.commands.alerts import list_alerts

    list_alerts(reached(config, state_dir), SystemClock(), closed_too, as_json)


@click.command("acknowledge", cls=Command)
@with_place
@click.argument("number", type=click.IntRange(1), metavar="ALERT")
@option("--remark", remark=True, default="", metavar="TEXT", help="What is done about it; kept and told with it")
@with_json
def _acknowledge(config: Path | None, state_dir: str | None, number: int, remark: str) -> None:
    """Say that somebody looks after an alert, so that others need not."""
    from aggregator.commands.alerts import acknowledge_alert

    acknowledge_alert(reached(config, state_dir), number, remark)


@click.group("alert-rules", cls=Group, no_args_is_help=False)
def _rules() -> None:
    """What makes an alert."""


@_rules.command("list", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _list_rules(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show every rule, those built in included."""
    from aggregator.commands.alerts import list_rules

    list_rules(reached(config, state_dir), as_json)


@_rules.command("set", cls=Command)
@with_place
@click.argument("name", metavar="RULE")
@option("--devices", group="Looks at", metavar="FILTER", help="Devices like that (docs/howto/find-devices.md)")
@option("--certificates-within", group="Looks at", metavar="TIME", help="Certificates that expire within it, as 30d")
@option("--rollouts", group="Looks at", metavar="STATES", help="States of the newest rollout, with commas")
@option("--severity", type=click.Choice(("info", "warning", "critical")), help="How soon somebody should look")
@option("--for-s", type=float, metavar="S", help="Open after so many seconds of it, close after so many without")
@option("--on/--off", "enabled", default=None, help="Switch the rule on or off")
@with_json
def _set_rule(
    config: Path | None, state_dir: str | None, name: str, devices: str | None, certificates_within: str | None,
    rollouts: str | None, severity: str | None, for_s: float | None, enabled: bool | None,
) -> None:  # fmt: skip
    """Make a rule, or change what is given of one; a built-in one, too."""
    from aggregator.commands.alerts import set_rule

    looks_at = {"devices": devices, "certificates": certificates_within, "rollouts": rollouts}
    given = {watches: condition for watches, condition in looks_at.items() if condition is not None}
    set_rule(reached(config, state_dir), name, given, severity, for_s, enabled)


@_rules.command("remove", cls=Command)
@with_place
@click.argument("name", metavar="RULE")
@with_json
def _remove_rule(config: Path | None, state_dir: str | None, name: str) -> None:
    """Forget a rule; of a built-in one, forget the changes."""
    from aggregator.commands.alerts import forget_rule

    forget_rule(reached(config, state_dir), name)


@click.group("silence", cls=Group, no_args_is_help=False)
def _silence() -> None:
    """Alerts that are not told for a time."""


@_silence.command("add", cls=Command)
@with_place
@option("--rule", group="Which", default="", metavar="RULE", help="Of this rule")
@option("--device", group="Which", default="", metavar="DEVICE", help="Of this device, or rollout")
@option("--filter", "wanted", group="Which", default="", metavar="FILTER", help="Of devices like that")
@option("--for", "duration", required=True, metavar="TIME", help="How long, as 8h or 2d")
@option("--remark", remark=True, default="", metavar="TEXT", help="Why; kept with it")
@with_json
def _add_silence(
    config: Path | None, state_dir: str | None, rule: str, device: str, wanted: str, duration: str, remark: str
) -> None:
    """Do not tell alerts that fit all that is given; they open all the same."""
    from aggregator.commands.alerts import silence_alerts

    silence_alerts(reached(config, state_dir), (rule, device, wanted), duration, remark)


@_silence.command("list", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _list_silences(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show the silences that hold."""
    from aggregator.commands.alerts import list_silences

    list_silences(reached(config, state_dir), as_json)


@_silence.command("end", cls=Command)
@with_place
@click.argument("number", type=click.IntRange(1), metavar="NUMBER")
@with_json
def _end_silence(config: Path | None, state_dir: str | None, number: int) -> None:
    """End a silence before its time; what is still open is told."""
    from aggregator.commands.alerts import unsilence_alerts

    unsilence_alerts(reached(config, state_dir), number)


COMMANDS: tuple[click.Command, ...] = (_alerts, _acknowledge, _rules, _silence)
