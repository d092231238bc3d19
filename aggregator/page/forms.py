"""Reads what forms send: small, named once, and only with the token of the visitor's own page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.page.visitors import CSRF_FIELD, CSRF_HEADER, Visitor, Visitors, check_csrf, check_origin, csrf_of

FORM = "application/x-www-form-urlencoded"
FIELDS_MAX = 200
ONCE_FIELD = "once"
Fields: TypeAlias = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form that a visitor sent. path: to which."""

    visitor: Visitor
    path: str
    fields: Fields

    def text(self, name: str, otherwise: str | None = None) -> str:
        """A field without blanks around it. Raises Refusal where it is missing and there is no `otherwise`."""
        found = self.fields.get(name)
        if found is None and otherwise is None:
            raise Refusal(400, f"the form has no field {name}; load the page again")
        return found[0].strip() if found else str(otherwise)

    def texts(self, name: str) -> list[str]:
        """Every value of a field that may come several times, as boxes that are ticked."""
        return [each.strip() for each in self.fields.get(name, ())]

    @property
    def once(self) -> str:
        """The key of the form, which is done once; empty for one that may be repeated."""
        return first(self.fields, ONCE_FIELD)[:64]

    @property
    def wanted(self) -> list[str]:
        """What the form asks, to tell it from another one with the same key."""
        kept = (name for name in sorted(self.fields) if name not in (ONCE_FIELD, CSRF_FIELD))
        return [self.path, *(f"{name}={value}" for name in kept for value in self.fields[name])]


def first(fields: Fields, name: str) -> str:
    """The first value of a field; empty without one."""
    return fields.get(name, ("",))[0]


async def read_fields(request: Request) -> Fields:
    """Raises Refusal for what is no form."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal(415, f"forms are sent as {FORM}")
    try:
        pairs = parse_qsl(
            (await request.body()).decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=FIELDS_MAX,
            errors="strict",
        )  # fmt: skip
    except ValueError as error:
        raise Refusal(400, f"the form cannot be read: {error}") from error
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return fields


def form_of(visitors: Visitors, role: Role) -> Callable[..., Awaitable[Form]]:
    """A dependency of routes that act: a form of a visitor with this role."""
    needed = Depends(visitors.needs(role))

    async def form(request: Request, visitor: Visitor = needed) -> Form:
        check_origin(request)
        fields = await read_fields(request)
        check_csrf(first(fields, CSRF_FIELD) or request.headers.get(CSRF_HEADER, ""), visitor.csrf)
        return Form(visitor, request.url.path, fields)

    return form


async def entry_form(request: Request, visitors: Visitors) -> Fields:
    """The fields of a form that somebody sends who is not known yet: the log-in."""
    check_origin(request)
    fields = await read_fields(request)
    secret, fresh = visitors.visit(request)
    if fresh:
        raise Refusal(
            400,
            "the browser did not send our cookie back; allow cookies here, and where a proxy speaks plain HTTP have it "
            "send X-Forwarded-Proto",
        )
    check_csrf(first(fields, CSRF_FIELD), csrf_of(secret))
    return fields
