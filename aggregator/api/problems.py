"""Errors as RFC 9457 problems: every answer that is none has the same form, whoever noticed."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from headway.errors import BundleError, ConfigError, ConflictError, HeadwayError, RemoteError, UnknownNameError
from headway.fields import canonical_json
from headway.printable import printable

log = logging.getLogger("headway.api")

MEDIA_TYPE = "application/problem+json"
# the first family that an error belongs to decides
STATUS: tuple[tuple[type[HeadwayError], int], ...] = (
    (UnknownNameError, 404), (ConflictError, 409), (ConfigError, 422), (BundleError, 422), (RemoteError, 400),
)  # fmt: skip
ERRORS_TOLD_MAX = 20


class Problem(BaseModel):
    """RFC 9457. detail: one line with what was wrong, the value and the fix."""

    title: str
    status: int
    detail: str


class Refusal(HTTPException):
    """A request that is refused for what it is, not for what it says."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(status, detail, named)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that failed."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": printable(detail)}
    return Response(canonical_json(body), status, headers, MEDIA_TYPE)


def tell_problems(application: FastAPI) -> None:
    """Whatever is raised in a request becomes a problem."""

    @application.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @application.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return problem(422, "; ".join(map(_told, error.errors()[:ERRORS_TOLD_MAX])))

    @application.exception_handler(HeadwayError)
    async def _headway(request: Request, error: HeadwayError) -> Response:
        for family, status in STATUS:
            if isinstance(error, family):
                return problem(status, str(error))
        log.error("%s %s: %s", request.method, request.url.path, error)
        return problem(503, "the server cannot do this now; its log says why; try again later", {"Retry-After": "10"})

    @application.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        return problem(500, "the server has a fault; its log says where")


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}"


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "a problem (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
