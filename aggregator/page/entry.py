"""The way in and out: log-in with name and password, log-out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.operations import Caller, Operator, create_token, list_tokens, revoke_token, token_id
from aggregator.page.forms import Fields, Form, entry_form, first
from aggregator.page.frame import Frame
from aggregator.page.headers import NEVER_KEPT
from aggregator.page.visitors import SESSION, VISIT, NobodyKnown, csrf_of
from aggregator.store.rows import USERS

LASTS_S = 43_200
# for who says that the browser is theirs alone
KEPT_S = 30 * 86_400
NAME_CHARACTERS_MAX = 64
LABEL = "page"
Next = Annotated[str, Query(max_length=8000)]


def entry_routes(application: FastAPI, frame: Frame) -> None:
    """/log-in and /log-out."""
    own = Depends(frame.form(Role.VIEWER))

    def shown(request: Request, wanted: str, message: str, status: int = 200, name: str = "") -> Response:
        secret, fresh = frame.visitors.visit(request)
        with frame.desk.stores.one() as store, store.reading():
            nobody = not store.rows(USERS).count()
        body = frame.rendering.render(
            "log_in.html.j2", path=request.url.path, visitor=None, csrf=csrf_of(secret), wanted=own_path(wanted),
            message=message, nobody=nobody, name=name[:NAME_CHARACTERS_MAX],
        )  # fmt: skip
        response = HTMLResponse(body, status, NEVER_KEPT)
        if fresh:
            frame.visitors.put_cookie(request, response, VISIT, secret, None)
        return response

    @application.get("/log-in")
    def show_log_in(request: Request, next: Next = "/", over: str = "") -> Response:
        try:
            frame.visitors.known(request)
        except NobodyKnown:
            return shown(request, next, "Your session is over. Log in again." if over else "")
        return RedirectResponse(own_path(next), 303, NEVER_KEPT)

    @application.post("/log-in")
    async def log_in(request: Request) -> Response:
        fields = await entry_form(request, frame.visitors)
        return await run_in_threadpool(enter, request, fields)

    def enter(request: Request, fields: Fields) -> Response:
        name, password, wanted = first(fields, "name").strip(), first(fields, "password"), first(fields, "next")
        try:
            caller = frame.visitors.door.by_form(request, name, password)
        except Refusal as refusal:
            return shown(request, wanted, f"Not now: {refusal.detail}. Wait a minute.", refusal.status_code, name)
        if caller is None:
            return shown(request, wanted, "Name or password is wrong.", 401, name)
        kept = first(fields, "keep") == "yes"
        token = begin(caller, KEPT_S if kept else LASTS_S)
        response = RedirectResponse(own_path(wanted), 303, NEVER_KEPT)
        frame.visitors.put_cookie(request, response, SESSION, token, KEPT_S if kept else None)
        frame.visitors.drop_cookie(request, response, VISIT)
        return response

    def begin(caller: Caller, lasts_s: float) -> str:
        with frame.desk.stores.one() as store, store.transaction():
            return create_token(frame.desk.operator(store, caller), caller.user, LABEL, None, lasts_s).token

    @application.post("/log-out")
    async def log_out(request: Request) -> Response:
        form = await frame.form(Role.SHARE)(request, await run_in_threadpool(frame.visitors.known, request))
        await run_in_threadpool(end, request, form.visitor.caller)
        response = RedirectResponse("/log-in", 303, NEVER_KEPT)
        frame.visitors.drop_cookie(request, response, SESSION)
        return response

    @application.post("/log-out/everywhere")
    def log_out_everywhere(request: Request, form: Form = own) -> Response:
        end_all(form.visitor.caller)
        response = RedirectResponse("/log-in", 303, NEVER_KEPT)
        frame.visitors.drop_cookie(request, response, SESSION)
        return response

    def end_all(caller: Caller) -> None:
        """Every session of the user; tokens of programs stay."""
        with frame.desk.stores.one() as store, store.transaction():
            operator = frame.desk.operator(store, caller)
            for token in list_tokens(store, caller.user):
                if token.label == LABEL:
                    revoke_token(operator, token.id, caller.user)

    def end(request: Request, caller: Caller) -> None:
        token = frame.visitors.cookie(request, SESSION)
        if caller.role is Role.SHARE or not token:
            return  # the link is others', too: only this browser forgets it
        with frame.desk.stores.one() as store, store.transaction():
            operator: Operator = frame.desk.operator(store, caller)
            revoke_token(operator, token_id(token), caller.user)


def own_path(wanted: str) -> str:
    """A path of ours, whatever stands in the address: never another site."""
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if plain and not wanted.startswith("/log-") else "/"
