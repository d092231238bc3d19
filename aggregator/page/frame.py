"""What every place of the page is given: who visits, reading, acting, and answers in HTML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from aggregator.access import Role
from aggregator.api import Desk
from aggregator.operations import Operator
from aggregator.page.forms import Form, form_of
from aggregator.page.headers import NEVER_KEPT
from aggregator.page.live import INBOX, Live
from aggregator.page.rendering import Rendering
from aggregator.page.visitors import VISIT, Visitor, Visitors

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Frame:
    """`visitor` and `form` give dependencies of routes; `read` and `act` what they do; `show` and `done` answers."""

    desk: Desk
    visitors: Visitors
    rendering: Rendering
    live: Live

    def visitor(self, role: Role) -> Callable[[Request], Visitor]:
        """A dependency: who asks, with at least this role."""
        return self.visitors.needs(role)

    def form(self, role: Role) -> Callable[..., Awaitable[Form]]:
        """A dependency: the form that somebody with at least this role sent."""
        return form_of(self.visitors, role)

    def read(self, visitor: Visitor, asked: Callable[[Operator], Result]) -> Result:
        """What `asked` finds in one picture of the store."""
        with self.desk.stores.one() as store, store.reading():
            return asked(self.desk.operator(store, visitor.caller))

    def act(self, form: Form, do: Callable[[Operator], object]) -> None:
        """Do something in one transaction, and once where the form has a key (macro ``form_keys(once=true)``)."""
        self.desk.act_once(form.visitor.caller, form.once, form.wanted, do)

    def show(self, request: Request, visitor: Visitor, template: str, *, status: int = 200, **values: Any) -> Response:
        """A template with values, and with what base.html.j2 and macros.html.j2 need."""
        body = self.rendering.render(
            template, path=request.url.path, visitor=visitor, waiting=self.waiting, **values
        )  # fmt: skip
        response = HTMLResponse(body, status, NEVER_KEPT)
        if visitor.fresh:
            self.visitors.put_cookie(request, response, VISIT, visitor.visit, None)
        return response

    @property
    def waiting(self) -> int:
        """How many items the inbox has, for the header; at most a second old."""
        return self.live.pulse().numbers.get(INBOX, 0)

    def done(self, path: str, said: str = "", place: str = "") -> Response:
        """After an act: to the page that shows it. said: a key of `rendering.SAID`; place: an element of the page.

        path: one of ours, never what somebody sent.
        """
        mark = "&" if "?" in path else "?"
        address = f"{path}{mark}said={said}" if said else path
        return RedirectResponse(f"{address}#{place}" if place else address, 303, NEVER_KEPT)
