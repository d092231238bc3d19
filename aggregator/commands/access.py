"""Implements `edge-fleet users` and `edge-fleet tokens`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click

from aggregator.access import Role
from aggregator.commands.done import say
from aggregator.commands.tables import aligned, print_table
from aggregator.reach import Fleet
from headway.errors import ConfigError
from headway.fields import readable_json
from headway.printable import printable

USER_HEADER = ("USER", "ROLE", "PASSWORD", "SINCE")
TOKEN_HEADER = ("ID", "USER", "ROLE", "UNTIL", "LABEL")


def add_user(fleet: Fleet, name: str, role: Role, with_password: bool) -> None:
    """``edge-fleet users add``. Raises ConflictError for one that is there."""
    fleet.put_user(name, role, _password() if with_password else None, True)
    say(f"added {name}, {role}; a token for them: edge-fleet tokens create {name}", user=name, role=str(role))


def change_role(fleet: Fleet, name: str, role: Role) -> None:
    """``edge-fleet users role``: at once, for every token of theirs, too."""
    fleet.put_user(name, role, None, False)
    say(f"{name} is {role} now", user=name, role=str(role))


def change_password(fleet: Fleet, name: str) -> None:
    """``edge-fleet users password``: tokens stay good."""
    fleet.put_user(name, None, _password(), False)
    say(f"{name} has a new password", user=name)


def forget_user(fleet: Fleet, name: str) -> None:
    """``edge-fleet users remove``."""
    fleet.remove_user(name)
    say(f"removed {name} and every token of theirs", removed=name)


def show_users(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet users list``."""
    views = fleet.users()
    if in_json:
        print(readable_json([asdict(view) for view in views]))
    elif views:
        rows = [(v.user, v.role, "yes" if v.has_password else "-", _day(v.created_s)) for v in views]
        print_table(USER_HEADER, rows, aligned([USER_HEADER, *rows]), frozenset())
    else:
        print("there is no user; make one: edge-fleet users add NAME --role admin")


def new_token(fleet: Fleet, user: str, label: str, role: Role | None, expires: str) -> None:
    """``edge-fleet tokens create``: print the token, and nothing else, on stdout."""
    token = fleet.new_token(user, label, role, expires)
    say(token, token=token)


def end_token(fleet: Fleet, id: str) -> None:
    """``edge-fleet tokens revoke``."""
    fleet.revoke_token(id)
    say(f"revoked {id}", revoked=id)


def show_tokens(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet tokens list``."""
    views = fleet.tokens()
    if in_json:
        print(readable_json([asdict(view) for view in views]))
    elif views:
        rows = [(v.id, v.user, v.role, _day(v.expires_s), printable(v.label) or "-") for v in views]
        print_table(TOKEN_HEADER, rows, aligned([TOKEN_HEADER, *rows]), frozenset())
    else:
        print("there is no token; make one: edge-fleet tokens create USER")


def _password() -> str:
    """Typed twice on a terminal, else the first line of the input: never an argument, which others can see."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise ConfigError("no password on the input; type it at the terminal, or pipe one line in")
    return line


def _day(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d")
