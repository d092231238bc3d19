"""Puts the API together: one application over the settings and stores of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

import headway
from aggregator.api.access_routes import access_routes
from aggregator.api.alert_routes import alert_routes
from aggregator.api.backup_routes import backup_routes, remove_backups
from aggregator.api.bounds import Bounds
from aggregator.api.callers import Doorkeeper
from aggregator.api.command_routes import command_routes
from aggregator.api.desk import Desk
from aggregator.api.device_routes import device_routes
from aggregator.api.enrolment_routes import enrolment_routes
from aggregator.api.history_routes import history_routes
from aggregator.api.inbox_routes import inbox_routes
from aggregator.api.problems import RESPONSES, Problem, tell_problems
from aggregator.api.removal_routes import removal_routes
from aggregator.api.rollout_routes import remove_uploads, rollout_routes
from aggregator.api.settings_routes import settings_routes
from aggregator.api.stores import Stores
from aggregator.config import Settings
from aggregator.store import Store
from headway.ports import Clock

OPENAPI_PATH = "/v1/openapi.json"
DESCRIPTION = (
    "Find, mark, enrol and update the devices of a fleet. Times are seconds since 1970, of the server's clock."
)
# routes that need no token, and what they need instead
OTHER_SCHEMES: dict[str, list[dict[str, list[str]]]] = {"/v1/health": [], "/v1/login": [{"password": []}]}

ROUTES = (
    access_routes, device_routes, removal_routes, rollout_routes, enrolment_routes, settings_routes, command_routes,
    history_routes, alert_routes, backup_routes, inbox_routes,
)  # fmt: skip


class Api(FastAPI):
    """The application behind a doorkeeper, with a description that says how to ask and what a refusal looks like.

    Its answers are made by hand; what they look like is for the description alone, which is made when it is asked.
    """

    def __init__(self, door: Doorkeeper, *, route_class: type[APIRoute]) -> None:
        super().__init__(
            title="Headway", version=headway.__version__, description=DESCRIPTION, openapi_url=OPENAPI_PATH,
            docs_url=None, redoc_url=None, responses=RESPONSES, redirect_slashes=False,
            generate_unique_id_function=lambda route: route.name,
        )  # fmt: skip
        self.router.route_class = route_class
        for add_routes in ROUTES:
            add_routes(self, door.desk, door)
        self._door = door

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = _described(Api(self._door, route_class=APIRoute))
        return self.openapi_schema


class _Route(APIRoute):
    """Without the schema of its answer, which takes nearly as long as all else and checks nothing."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, "response_model": None})


def create_app(settings: Settings, open_store: Callable[[], Store], clock: Clock) -> Api:
    """The API of a fleet. open_store: opens one more store, for one thread at a time."""
    return api_of(Doorkeeper.of(Desk(settings, Stores(open_store), clock)))


def api_of(door: Doorkeeper) -> Api:
    """The same behind a doorkeeper whom others share."""
    application = Api(door, route_class=_Route)
    tell_problems(application)
    application.add_middleware(_bounds, door=door)
    return application


def clean_up(settings: Settings) -> None:
    """Before it is served: take away what a process that was killed left of uploads and backups."""
    remove_uploads(settings.state_dir)
    remove_backups(settings.state_dir)


def _bounds(application: ASGIApp, door: Doorkeeper) -> Bounds:
    return Bounds(application, door.desk.settings.api, door.desk.clock, door.addresses)


def _described(application: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=application.title, version="1", description=application.description, routes=application.routes
    )
    parts = found["components"]
    parts["schemas"]["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"}, "password": {"type": "http", "scheme": "basic"}
    }  # fmt: skip
    for path, operations in found["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["security"] = OTHER_SCHEMES.get(path, [{"token": []}])
    return found
