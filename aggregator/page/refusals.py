"""What went wrong, as a page in plain words; in a part of a page, as one line."""

from __future__ import annotations

import html
import logging
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from aggregator.api import STATUS
from aggregator.page.frame import Frame
from aggregator.page.headers import NEVER_KEPT
from aggregator.page.visitors import SESSION, LinkOpened, NobodyKnown, Visitor
from headway.errors import HeadwayError
from headway.printable import printable

log = logging.getLogger("headway.page")

LATER = "The server cannot do this now; its log says why. Try again in a moment."
TITLES = {
    400: "This cannot be read", 401: "Who are you?", 403: "Not allowed", 404: "Not found", 409: "Not like this",
    413: "Too large", 422: "Not like this", 429: "Too often", 500: "A fault of ours", 503: "Not now",
}  # fmt: skip
# a part of a page that htmx asks for
PART_HEADER = "HX-Request"
SHARE_LASTS_S = 30 * 86_400


def tell_refusals(application: FastAPI, frame: Frame) -> None:
    """Whatever is raised in a request becomes a page."""

    def answer(
        request: Request, status: int, detail: str, headers: dict[str, str] | None = None, by: Visitor | None = None
    ) -> Response:
        words = printable(detail)
        if is_part(request):
            body = frame.rendering.render("refused_part.html.j2", detail=words)
            return HTMLResponse(body, status, NEVER_KEPT | (headers or {}))
        title = TITLES.get(status, HTTPStatus(status).phrase)
        body = frame.rendering.render(
            "refused.html.j2", path=request.url.path, visitor=by, title=title, status=status, detail=words,
            waiting=0 if by is None else frame.waiting,
        )  # fmt: skip
        return HTMLResponse(body, status, NEVER_KEPT | (headers or {}))

    async def known(request: Request) -> Visitor | None:
        """Who asked, so that they keep the way to other places; nobody where that cannot be told."""
        if is_part(request):
            return None
        try:
            visitor = await run_in_threadpool(frame.visitors.known, request)
            await run_in_threadpool(frame.live.pulse)
        except (NobodyKnown, LinkOpened, HTTPException, HeadwayError):
            return None  # what went wrong is told all the same
        return visitor

    @application.exception_handler(NobodyKnown)
    async def _unknown(request: Request, error: NobodyKnown) -> Response:
        where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        safe = where if request.method in ("GET", "HEAD") and not is_part(request) else "/"
        address = f"/log-in?next={quote(safe, safe='')}" + ("&over=1" if error.cookie_is_over else "")
        if is_part(request):
            return Response(status_code=401, headers=NEVER_KEPT | {"HX-Redirect": "/log-in?over=1"})
        return RedirectResponse(address, 303, NEVER_KEPT)

    @application.exception_handler(LinkOpened)
    async def _link(request: Request, error: LinkOpened) -> Response:
        rest = request.url.remove_query_params("share")
        response = RedirectResponse(rest.path + (f"?{rest.query}" if rest.query else ""), 303, NEVER_KEPT)
        if await run_in_threadpool(frame.visitors.opens, error.token):
            frame.visitors.put_cookie(request, response, SESSION, error.token, SHARE_LASTS_S)
            return response
        return answer(request, 401, "this link is over or was taken back; ask for a new one")

    @application.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 404 and detail == HTTPStatus(404).phrase:
            detail = "There is nothing at this address."
        return answer(request, error.status_code, detail, dict(error.headers or {}), await known(request))

    @application.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        told = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()[:5])
        status = 404 if any(each["loc"][0] == "path" for each in error.errors()) else 422
        return answer(request, status, told, by=await known(request))

    @application.exception_handler(HeadwayError)
    async def _headway(request: Request, error: HeadwayError) -> Response:
        for family, status in STATUS:
            if isinstance(error, family):
                return answer(request, status, str(error), by=await known(request))
        log.error("%s %s: %s", request.method, request.url.path, error)
        return answer(request, 503, LATER, {"Retry-After": "10"}, await known(request))

    @application.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        return answer(request, 500, "The server has a fault; its log says where.")


def is_part(request: Request) -> bool:
    """Whether a page that is open asks for a part of itself."""
    return request.headers.get(PART_HEADER, "") == "true"


def plain_refusal(status: int, detail: str, headers: dict[str, str]) -> Response:
    """Of requests that nobody looked into: too many, or too large."""
    title = html.escape(TITLES.get(status, HTTPStatus(status).phrase))
    body = f"<!doctype html><html lang=en><title>{title}</title><h1>{title}</h1><p>{html.escape(detail)}.</p></html>"
    return HTMLResponse(body, status, NEVER_KEPT | headers)
