"""The commands of ``edge-fleet``, on click: which module holds each; what they do is in the modules beside those.

A module is loaded when one of its commands is called. It has them in `COMMANDS`.
"""

from __future__ import annotations

from pathlib import Path

import click

import headway
from aggregator.commands.place_options import SERVER, Server
from headway.command_line import Group, file_path, option
from headway.errors import ConfigError
from headway.logs import log_to_stderr

LEVELS = ("debug", "info", "warning", "error")
# commands that a server elsewhere answers, too
ELSEWHERE = {
    "acknowledge", "alert-rules", "alerts", "audit", "backup", "bundles", "certificates", "command", "commands",
    "configuration", "configure", "deliver", "deliveries", "device", "devices", "enroll", "events", "export", "forget",
    "groups", "heads", "inbox", "influence", "label", "note", "privacy", "quarantine", "readmit", "refusals",
    "removals", "remove", "revoke", "rollout", "silence", "tag", "tokens", "users", "watch",
}  # fmt: skip
WHERE = {
    "aggregator.commands.access_program": ("api", "tokens", "users"),
    "aggregator.commands.alerts_program": ("acknowledge", "alert-rules", "alerts", "silence"),
    "aggregator.commands.audit_program": ("audit",),
    "aggregator.commands.spaces_program": ("heads", "influence", "keygen", "privacy", "verify"),
    "aggregator.commands.commands_program": ("command", "commands"),
    "aggregator.commands.backup_program": ("backup", "restore"),
    "aggregator.commands.deliver_program": ("deliver", "deliveries"),
    "aggregator.commands.enrolment_program": ("broker-config", "certificates", "enroll", "join-server", "revoke"),
    "aggregator.commands.inbox_program": ("inbox", "label"),
    "aggregator.commands.looking_program": ("bundles", "completion", "events", "export", "refusals", "watch"),
    "aggregator.commands.registry_program": (
        "device",
        "devices",
        "forget",
        "groups",
        "note",
        "quarantine",
        "readmit",
        "removals",
        "remove",
        "tag",
    ),
    "aggregator.commands.rollout_program": ("rollout",),
    "aggregator.commands.serve_program": ("serve", "worker"),
    "aggregator.commands.settings_program": ("configuration", "configure"),
}


@click.group(cls=Group, no_args_is_help=False, later=WHERE)
@option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What to write to stderr")
@click.version_option(headway.__version__, message="edge-fleet %(version)s", help="Show this program's version.")
@option("--server", metavar="URL", help="Ask the API of another server, as https://fleet.example:8885")
@option("--token-file", type=file_path(), metavar="FILE", help="Holds a token of edge-fleet tokens create")
@option("--ca-file", type=file_path(), metavar="FILE", help="Who signed that server's certificate, PEM")
@click.pass_context
def edge_fleet(
    context: click.Context, log_level: str, server: str | None, token_file: Path | None, ca_file: Path | None
) -> None:
    """Combines what a fleet of devices learned."""
    log_to_stderr(log_level, "%(levelname)s %(name)s %(message)s")
    if server is not None:
        if context.invoked_subcommand not in ELSEWHERE:
            raise ConfigError(f"edge-fleet {context.invoked_subcommand} works on its own machine; leave --server out")
        context.meta[SERVER] = Server(server, token_file, ca_file)


@edge_fleet.command(
    "simulate", add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def _simulate(rest: tuple[str, ...]) -> int:
    """What a fleet asks of network, broker, aggregator."""
    from importlib.metadata import entry_points

    # a program of its own, which runs agents too: it comes through an entry point, never by an import
    for command in entry_points(group="headway.commands", name="simulate"):
        code: int = command.load()(list(rest))
        return code
    raise ConfigError(
        "edge-fleet simulate needs the package headway_simulation, which is not installed here; install headway whole"
    )
