"""Who asks: a token, a share link, or a user whom a trusted proxy names; and whether their role suffices."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from fastapi import Request

from aggregator.access import Role
from aggregator.access.passwords import hashed, matches
from aggregator.api.bounds import MINUTE_S, address_of
from aggregator.api.desk import Desk
from aggregator.api.problems import Refusal
from aggregator.operations import Caller, caller_of
from aggregator.rates import Rates
from aggregator.store.rows import USERS
from headway.fields import nearest

CHALLENGE = 'Bearer realm="headway"'
# a page of another site can make a browser send a form, but not this header
ACT_HEADER = "X-Requested-With"
SHARE_QUERY = "share"
SAFE = ("GET", "HEAD")


def only_known_queries(request: Request) -> None:
    """A dependency of every route: a misspelt filter must not list the whole fleet."""
    route = request.scope["route"]
    known = {parameter.alias for parameter in route.dependant.query_params} | {SHARE_QUERY}
    for name in request.query_params:
        if name not in known:
            raise Refusal(422, f"query {name[:80]!r} means nothing here{nearest(name, tuple(sorted(known)))}")


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Says who a caller is, and how often they may ask. addresses: how often each may, whoever asks (`Bounds`)."""

    desk: Desk
    users: Rates
    attempts: Rates
    addresses: Rates
    hashing: threading.Lock
    counting: threading.Lock

    @classmethod
    def of(cls, desk: Desk) -> Doorkeeper:
        chosen = desk.settings.api
        counts = chosen.requests_per_minute, chosen.logins_per_address_minute, chosen.requests_per_address_minute
        users, attempts, addresses = (Rates(count, MINUTE_S) for count in counts)
        return cls(desk, users, attempts, addresses, threading.Lock(), threading.Lock())

    def needs(self, role: Role) -> Callable[[Request], Caller]:
        """A dependency of routes that only callers with this role reach."""

        def caller(request: Request) -> Caller:
            found = self._caller(request)
            self.admit(found, role)
            only_known_queries(request)
            return found

        return caller

    def by_password(self, request: Request) -> Caller:
        """A dependency of the route at which users log in (RFC 7617)."""
        self._count_attempt(request)
        kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = colon = password = ""
        if kind.lower() != "basic" or not colon:
            raise Refusal(401, "give name and password (HTTP Basic)", WWW_Authenticate='Basic realm="headway"')
        found = self._with_password(name, password)
        if found is None:
            raise Refusal(401, "name or password is wrong", WWW_Authenticate='Basic realm="headway"')
        only_known_queries(request)
        return found

    def by_form(self, request: Request, name: str, password: str) -> Caller | None:
        """The same for the form of the page; None where name or password is wrong. Raises Refusal beyond the rate."""
        self._count_attempt(request)
        return self._with_password(name, password)

    def by_proxy(self, request: Request) -> Caller | None:
        """Whom a trusted proxy names; None where none does. Raises Refusal for one who is no user."""
        chosen = self.desk.settings.api
        named = request.headers.get(chosen.user_header, "")
        peer = request.client.host if request.client is not None else ""
        if not named or not chosen.trusts(peer):
            return None
        with self.desk.stores.one() as store, store.reading():
            row = store.rows(USERS).get(named)
        if row is None:
            raise Refusal(403, f"the proxy names {named!r}, which is no user here; edge-fleet users add")
        return Caller(row.name, Role(row.role))

    def by_token(self, token: str) -> Caller | None:
        """Whose token it is; None for one that is unknown, revoked or over. Attempts are not counted here."""
        with self.desk.stores.one() as store, store.reading():
            found = caller_of(store, token, self.desk.clock.wall_s())
        if found is None or found.role is not Role.SHARE:
            return found
        # the link of a user is not the user: it looks, and its requests count for itself
        return replace(found, user=f"share of {found.user}")

    def admit(self, caller: Caller, role: Role) -> None:
        """Raises Refusal when the role does not suffice, or when the caller asks too often."""
        if not caller.role.may(role):
            raise Refusal(403, f"this needs the role {role}; {caller.user} has {caller.role}")
        with self.counting:
            allowed = self.users.take(caller.user, self.desk.clock.monotonic_s())
        if not allowed:
            limit = self.desk.settings.api.requests_per_minute
            raise Refusal(429, f"more than {limit} requests a minute of one user", Retry_After="60")

    def hashed(self, password: str) -> str:
        """The digest of a new password. Raises ConfigError."""
        with self.hashing:
            return hashed(password)

    def _caller(self, request: Request) -> Caller:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            return self._known_token(request, token.strip())
        share = request.query_params.get(SHARE_QUERY, "")
        if share:
            found = self._known_token(request, share)
            if found.role is not Role.SHARE:
                raise Refusal(401, "only share links stand in addresses; send a token as Authorization: Bearer")
            return found
        named = self.by_proxy(request)
        if named is None:
            raise Refusal(401, "send a token as Authorization: Bearer; edge-fleet tokens create makes one",
                          WWW_Authenticate=CHALLENGE)  # fmt: skip
        if request.method not in SAFE and not request.headers.get(ACT_HEADER):
            raise Refusal(403, f"an act through a proxy needs the header {ACT_HEADER}, against forged forms")
        return named

    def _known_token(self, request: Request, token: str) -> Caller:
        found = self.by_token(token)
        if found is None:
            self._count_attempt(request)
            raise Refusal(401, "the token is unknown, revoked or over", WWW_Authenticate=CHALLENGE)
        return found

    def _with_password(self, name: str, password: str) -> Caller | None:
        with self.desk.stores.one() as store, store.reading():
            row = store.rows(USERS).get(name)
        # one at a time, and never in a transaction: it takes long and much memory
        with self.hashing:
            right = matches(password, "" if row is None else row.password)
        return Caller(row.name, Role(row.role)) if row is not None and right else None

    def _count_attempt(self, request: Request) -> None:
        address = address_of(request.scope, self.desk.settings.api)
        with self.counting:
            allowed = self.attempts.take(address, self.desk.clock.monotonic_s())
        if not allowed:
            limit = self.desk.settings.api.logins_per_address_minute
            raise Refusal(429, f"more than {limit} passwords or unknown tokens a minute", Retry_After="60")
