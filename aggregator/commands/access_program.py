"""The commands of ``edge-fleet`` around the API: serve it, and who may use it; what they do is in the modules beside
this one."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.access import Role
from aggregator.commands.done import with_json
from aggregator.commands.place import Place
from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, Group, option
from headway.ports import SystemClock

USER_ROLES = click.Choice([str(role) for role in Role if role is not Role.SHARE])


@click.command("api", cls=Command)
@with_place
def _api(config: Path | None, state_dir: str | None) -> int:
    """Serve the API of the fleet."""
    from aggregator.commands.api import serve_api

    return serve_api(Place(config, state_dir).configured(), SystemClock())


@click.group("users", cls=Group, no_args_is_help=False)
def users() -> None:
    """Users of the API."""


@users.command("add", cls=Command)
@with_place
@click.argument("name", metavar="NAME")
@option("--role", type=USER_ROLES, default=str(Role.VIEWER), show_default=True, help="What they may")
@option("--password", "with_password", is_flag=True, help="Ask for a password, or read one line of the input")
@with_json
def _add(config: Path | None, state_dir: str | None, name: str, role: str, with_password: bool) -> None:
    """Add a user."""
    from aggregator.commands.access import add_user

    add_user(reached(config, state_dir), name, Role(role), with_password)


@users.command("list", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _list_users(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List users and what they may."""
    from aggregator.commands.access import show_users

    show_users(reached(config, state_dir), as_json)


@users.command("role", cls=Command)
@with_place
@click.argument("name", metavar="NAME")
@click.argument("role", type=USER_ROLES, metavar="ROLE")
@with_json
def _role(config: Path | None, state_dir: str | None, name: str, role: str) -> None:
    """Change what a user may: viewer, operator or admin."""
    from aggregator.commands.access import change_role

    change_role(reached(config, state_dir), name, Role(role))


@users.command("password", cls=Command)
@with_place
@click.argument("name", metavar="NAME")
@with_json
def _password(config: Path | None, state_dir: str | None, name: str) -> None:
    """Ask for a new password of a user, or read one line of the input."""
    from aggregator.commands.access import change_password

    change_password(reached(config, state_dir), name)


@users.command("remove", cls=Command)
@with_place
@click.argument("name", metavar="NAME")
@with_json
def _remove(config: Path | None, state_dir: str | None, name: str) -> None:
    """Remove a user and every token of theirs."""
    from aggregator.commands.access import forget_user

    forget_user(reached(config, state_dir), name)


@click.group("tokens", cls=Group, no_args_is_help=False)
def tokens() -> None:
    """Tokens with which users and programs use the API."""


@tokens.command("create", cls=Command)
@with_place
@click.argument("user", metavar="USER")
@option("--label", remark=True, default="", metavar="TEXT", help="What it is for")
@option("--role", type=click.Choice([str(role) for role in Role]), help="Less than the user may; share: for a link")
@option("--expires", default="30d", show_default=True, metavar="TIME", help="When it ends: 30m, 24h or 7d from now")
@with_json
def _create(config: Path | None, state_dir: str | None, user: str, label: str, role: str | None, expires: str) -> None:
    """Print a token of a user; nobody can see it again."""
    from aggregator.commands.access import new_token

    wanted = None if role is None else Role(role)
    new_token(reached(config, state_dir), user, label, wanted, expires)


@tokens.command("list", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def _list_tokens(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List tokens, of which only the first digits of their digests are known."""
    from aggregator.commands.access import show_tokens

    show_tokens(reached(config, state_dir), as_json)


@tokens.command("revoke", cls=Command)
@with_place
@click.argument("id", metavar="ID")
@with_json
def _revoke(config: Path | None, state_dir: str | None, id: str) -> None:
    """Revoke a token, by the ID of the list."""
    from aggregator.commands.access import end_token

    end_token(reached(config, state_dir), id)


COMMANDS: tuple[click.Command, ...] = (_api, users, tokens)
