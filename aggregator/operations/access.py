"""Users of the API and their tokens, as an administrator keeps them."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, replace

from aggregator.access import Role
from aggregator.operations.operator import Operator
from aggregator.store import Store
from aggregator.store.rows import DONE_ACTS, TOKENS, USERS, TokenRow, UserRow
from headway.errors import ConfigError, ConflictError, UnknownNameError
from headway.printable import is_printable
from headway.wire import checked_name

USERS_MAX, TOKENS_MAX = 1000, 100
LABEL_CHARACTERS_MAX = 100
DAY_S = 86_400.0
TOKEN_DAYS_MAX = 3650
# what a program that looks for leaked secrets can tell ours by
PREFIX = "hwt_"


@dataclass(frozen=True, slots=True)
class UserView:
    """A user of the API."""

    user: str
    role: str
    has_password: bool
    created_s: float


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token, without its text."""

    id: str
    user: str
    label: str
    role: str
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token with its text, which nobody is told a second time."""

    token: str
    id: str
    user: str
    label: str
    role: str
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, and what they may now."""

    user: str
    role: Role

    @property
    def who(self) -> str:
        """As the audit log names them."""
        return f"user:{self.user}"


def put_user(operator: Operator, name: str, role: Role, password: str | None) -> UserView:
    """Add a user, or change one. password: digest of the new one, None keeps what there is. Raises ConfigError."""
    known = operator.store.rows(USERS).get(checked_name(name, "user"))
    if role is Role.SHARE:
        raise ConfigError("share is the role of a link, not of a user; take viewer, operator or admin")
    if known is None and operator.store.rows(USERS).count() >= USERS_MAX:
        raise ConflictError(f"there are {USERS_MAX} users already; remove one")
    before = UserRow(name, str(role), "", operator.now_s) if known is None else known
    row = replace(before, role=str(role), password=before.password if password is None else password)
    operator.store.rows(USERS).put(row)
    operator.did("change-user" if known else "add-user", name, role=str(role), password=password is not None)
    return _user(row)


def remove_user(operator: Operator, name: str) -> None:
    """And every token of theirs. Raises UnknownNameError."""
    if not operator.store.rows(USERS).remove(name):
        raise UnknownNameError(f"no user {name!r}; `edge-fleet users list` lists them")
    for token in operator.store.rows(TOKENS).where(user=name):
        operator.store.rows(TOKENS).remove(token.sha256)
    operator.store.rows(DONE_ACTS).remove(f"user:{name}")
    operator.did("remove-user", name)


def list_users(store: Store) -> list[UserView]:
    """By name. In a transaction."""
    return [_user(row) for row in store.rows(USERS).all()]


def user_row(store: Store, name: str) -> UserRow:
    """In a transaction. Raises UnknownNameError."""
    row = store.rows(USERS).get(name)
    if row is None:
        raise UnknownNameError(f"no user {name!r}; `edge-fleet users list` lists them")
    return row


def create_token(operator: Operator, user: str, label: str, role: Role | None, lasts_s: float) -> NewToken:
    """A token of a user, with no more than their role. Raises UnknownNameError, ConfigError, ConflictError."""
    owner = user_row(operator.store, user)
    if len(label) > LABEL_CHARACTERS_MAX or not is_printable(label):
        raise ConfigError(f"the label of a token has at most {LABEL_CHARACTERS_MAX} characters, all printable")
    if not 0 < lasts_s <= TOKEN_DAYS_MAX * DAY_S:
        raise ConfigError(f"a token that lasts {lasts_s:g} s: give a time of up to {TOKEN_DAYS_MAX} days")
    tokens = operator.store.rows(TOKENS)
    for known in tokens.where(user=user):
        if known.expires_s <= operator.now_s:
            tokens.remove(known.sha256)
    if len(tokens.where(user=user)) >= TOKENS_MAX:
        raise ConflictError(f"{user} has {TOKENS_MAX} tokens already; revoke one")
    text = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    sha256, most = token_sha256(text), Role(owner.role)
    row = TokenRow(
        sha256, sha256[:16], user, label, str(most if role is None else role.at_most(most)), operator.now_s,
        operator.now_s + lasts_s,
    )  # fmt: skip
    tokens.put(row)
    operator.did("create-token", user, id=row.id, role=row.role, label=label)
    return NewToken(text, row.id, row.user, row.label, row.role, row.created_s, row.expires_s)


def revoke_token(operator: Operator, id: str, owner: str = "") -> None:
    """owner: whose it must be; empty for anybody's. Raises UnknownNameError."""
    rows = [row for row in operator.store.rows(TOKENS).where(id=id) if owner in ("", row.user)]
    if not rows:
        raise UnknownNameError(f"no token {id!r}; `edge-fleet tokens list` lists them")
    for row in rows:
        operator.store.rows(TOKENS).remove(row.sha256)
        operator.did("revoke-token", row.user, id=row.id)


def list_tokens(store: Store, user: str = "") -> list[TokenView]:
    """Of one user or of all. In a transaction."""
    tokens = store.rows(TOKENS)
    rows = tokens.where(user=user) if user else tokens.all()
    views = [TokenView(row.id, row.user, row.label, row.role, row.created_s, row.expires_s) for row in rows]
    return sorted(views, key=lambda view: (view.user, view.created_s, view.id))


def token_sha256(text: str) -> str:
    """Under which a token is kept: 256 random bits need no slow digest."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_id(text: str) -> str:
    """How lists and the audit log name a token."""
    return token_sha256(text)[:16]


def caller_of(store: Store, token: str, now_s: float) -> Caller | None:
    """Whose token it is; None for one that is unknown or over. In a transaction."""
    row = store.rows(TOKENS).get(token_sha256(token))
    user = None if row is None else store.rows(USERS).get(row.user)
    if row is None or user is None or now_s >= row.expires_s:
        return None
    return Caller(user.name, Role(row.role).at_most(Role(user.role)))


def _user(row: UserRow) -> UserView:
    return UserView(row.name, row.role, bool(row.password), row.created_s)
