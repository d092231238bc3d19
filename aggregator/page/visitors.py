"""Who visits the page: somebody who logged in, whom a trusted proxy names, or who has a share link.

A session is a token of the user like any other (`aggregator.operations.create_token`), in a cookie that scripts cannot
read: of it the server keeps a digest and an end, `edge-fleet tokens list` shows it, and log-out revokes it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request, Response

from aggregator.access import Role
from aggregator.api import Doorkeeper, Refusal
from aggregator.operations import Caller

SHARE_QUERY = "share"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
SECRET_BYTES = 32
# of a visit without a session: a browser's, until it ends
VISIT = "visit"
SESSION = "session"


@dataclass(frozen=True, slots=True)
class Visitor:
    """csrf: what forms of this visitor must bring. log_out: whether there is a session here that can be ended.

    visit: the secret of a visit without a session, to be set as a cookie when `fresh`.
    """

    caller: Caller
    csrf: str
    log_out: bool = False
    visit: str = ""
    fresh: bool = False

    def may(self, role: Role | str) -> bool:
        """For templates: whether acts of this role are shown."""
        return self.caller.role.may(Role(role))


class NobodyKnown(Exception):
    """The request is of nobody whom we know: they should log in. known: they were, until now."""

    def __init__(self, cookie_is_over: bool) -> None:
        super().__init__("log in")
        self.cookie_is_over = cookie_is_over


class LinkOpened(Exception):
    """A share link was opened: its token goes from the address into a cookie."""

    def __init__(self, token: str) -> None:
        super().__init__("share link")
        self.token = token


@dataclass(frozen=True, slots=True)
class Visitors:
    """Knows visitors by their cookies, as the API's doorkeeper knows callers by their tokens."""

    door: Doorkeeper

    def needs(self, role: Role) -> Callable[[Request], Visitor]:
        """A dependency of routes that only visitors with this role reach."""

        def visitor(request: Request) -> Visitor:
            found = self.known(request)
            self.door.admit(found.caller, role)
            return found

        return visitor

    def known(self, request: Request) -> Visitor:
        """Raises NobodyKnown, LinkOpened, Refusal."""
        proxied = self.door.by_proxy(request)
        if proxied is not None:
            secret, fresh = self.visit(request)
            return Visitor(proxied, csrf_of(secret), False, secret, fresh)
        token = self.cookie(request, SESSION)
        caller = self.door.by_token(token) if token else None
        share = request.query_params.get(SHARE_QUERY, "")
        if share and (caller is None or caller.role is Role.SHARE):
            raise LinkOpened(share)
        if caller is None:
            raise NobodyKnown(bool(token))
        return Visitor(caller, csrf_of(token), True)

    def opens(self, token: str) -> bool:
        """Whether it is a share link's; what may more must not stand in addresses."""
        found = self.door.by_token(token)
        return found is not None and found.role is Role.SHARE

    def visit(self, request: Request) -> tuple[str, bool]:
        """The secret of a visit without a session, and whether it is new."""
        known = self.cookie(request, VISIT)
        return (known, False) if len(known) >= SECRET_BYTES else (secrets.token_urlsafe(SECRET_BYTES), True)

    def cookie(self, request: Request, kind: str) -> str:
        return request.cookies.get(self._name(request, kind), "")

    def put_cookie(self, request: Request, response: Response, kind: str, value: str, lasts_s: int | None) -> None:
        """lasts_s: None until the browser is closed."""
        response.set_cookie(
            self._name(request, kind), value, max_age=lasts_s, path="/", secure=self._secure(request), httponly=True,
            samesite="lax",
        )  # fmt: skip

    def drop_cookie(self, request: Request, response: Response, kind: str) -> None:
        response.delete_cookie(
            self._name(request, kind), path="/", secure=self._secure(request), httponly=True, samesite="lax"
        )

    def _name(self, request: Request, kind: str) -> str:
        """Cookies do not mind ports: servers of two fleets on one machine must not take each other's."""
        prefix = "__Host-" if self._secure(request) else ""
        return f"{prefix}headway-{self.door.desk.settings.fleet}-{kind}"

    def _secure(self, request: Request) -> bool:
        """Whether the browser speaks TLS: with us, or with the trusted proxy, unless that says otherwise."""
        peer = request.client.host if request.client is not None else ""
        if self.door.desk.settings.api.trusts(peer):
            return request.headers.get("X-Forwarded-Proto", "https").rpartition(",")[2].strip() == "https"
        return request.url.scheme == "https"


def csrf_of(secret: str) -> str:
    """What forms bring back: it follows from the cookie, and the cookie does not follow from it."""
    return hashlib.sha256(b"headway form\n" + secret.encode()).hexdigest()


def check_origin(request: Request) -> None:
    """Browsers say from where a request comes. Raises Refusal for one of another site."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Refusal(403, "the request comes from another site; open the page itself and try again")


def check_csrf(given: str, expected: str) -> None:
    """Raises Refusal."""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Refusal(403, "this form is of another session; load the page again and repeat what you did")
