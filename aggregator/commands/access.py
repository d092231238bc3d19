"""Implements `edge-fleet users` and `edge-fleet tokens`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click

from aggregator.access import Role
from aggregator.access.passwords import hashed
from aggregator.commands.tables import aligned, print_table
from aggregator.operations import (
    Operator,
    create_token,
    duration_s,
    list_tokens,
    list_users,
    put_user,
    remove_user,
    revoke_token,
    user_row,
)
from aggregator.store import Store
from headway.errors import ConfigError, ConflictError
from headway.fields import readable_json
from headway.ports import Clock
from headway.printable import printable

USER_HEADER = ("USER", "ROLE", "PASSWORD", "SINCE")
TOKEN_HEADER = ("ID", "USER", "ROLE", "UNTIL", "LABEL")


def add_user(store: Store, clock: Clock, name: str, role: Role, with_password: bool) -> None:
    """``edge-fleet users add``. Raises ConflictError for one that is there."""
    digest = hashed(_password()) if with_password else None
    with store.transaction():
        if name in {view.user for view in list_users(store)}:
            raise ConflictError(f"there is a user {name!r} already; edge-fleet users role changes what they may")
        put_user(Operator.local(store, clock), name, role, digest)
    print(f"added {name}, {role}; a token for them: edge-fleet tokens create {name}")


def change_role(store: Store, clock: Clock, name: str, role: Role) -> None:
    """``edge-fleet users role``: at once, for every token of theirs, too."""
    with store.transaction():
        user_row(store, name)
        put_user(Operator.local(store, clock), name, role, None)
    print(f"{name} is {role} now")


def change_password(store: Store, clock: Clock, name: str) -> None:
    """``edge-fleet users password``: tokens stay good."""
    digest = hashed(_password())
    with store.transaction():
        put_user(Operator.local(store, clock), name, Role(user_row(store, name).role), digest)
    print(f"{name} has a new password")


def forget_user(store: Store, clock: Clock, name: str) -> None:
    """``edge-fleet users remove``."""
    with store.transaction():
        remove_user(Operator.local(store, clock), name)
    print(f"removed {name} and every token of theirs")


def show_users(store: Store, in_json: bool) -> None:
    """``edge-fleet users list``."""
    with store.transaction():
        views = list_users(store)
    if in_json:
        print(readable_json([asdict(view) for view in views]))
    elif views:
        rows = [(v.user, v.role, "yes" if v.has_password else "-", _day(v.created_s)) for v in views]
        print_table(USER_HEADER, rows, aligned([USER_HEADER, *rows]), frozenset())
    else:
        print("there is no user; make one: edge-fleet users add NAME --role admin")


def new_token(store: Store, clock: Clock, user: str, label: str, role: Role | None, expires: str) -> None:
    """``edge-fleet tokens create``: print the token, and nothing else, on stdout."""
    with store.transaction():
        made = create_token(Operator.local(store, clock), user, label, role, duration_s(expires))
    print(made.token)


def end_token(store: Store, clock: Clock, id: str) -> None:
    """``edge-fleet tokens revoke``."""
    with store.transaction():
        revoke_token(Operator.local(store, clock), id)
    print(f"revoked {id}")


def show_tokens(store: Store, in_json: bool) -> None:
    """``edge-fleet tokens list``."""
    with store.transaction():
        views = list_tokens(store)
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
