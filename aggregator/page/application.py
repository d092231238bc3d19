"""Puts the page together: every place of it over one frame. A new place is a module with routes, named in `PLACES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from aggregator.api import Bounds, Doorkeeper
from aggregator.page.assets import Assets, asset_routes
from aggregator.page.entry import entry_routes
from aggregator.page.fleet import fleet_routes, pulse_of
from aggregator.page.frame import Frame
from aggregator.page.headers import PAGE_HEADERS
from aggregator.page.live import Live
from aggregator.page.live_routes import live_routes
from aggregator.page.refusals import plain_refusal, tell_refusals
from aggregator.page.rendering import Rendering
from aggregator.page.visitors import Visitors

# what the page shows; the order is no matter, the header has its own (rendering.NAVIGATION)
PLACES: tuple[Callable[[FastAPI, Frame], None], ...] = (entry_routes, live_routes, fleet_routes)


@dataclass(frozen=True, slots=True)
class Page:
    """The application, and what makes open pages live."""

    application: ASGIApp
    live: Live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)

    def close(self) -> None:
        """End what waits for news, so that a server that stops need not wait for viewers. From any thread."""
        self.live.close()


def create_page(door: Doorkeeper) -> Page:
    """The page behind the API's doorkeeper: the same users, rates and stores."""
    assets = Assets.of_package()
    live = Live(pulse_of(door.desk))
    rendering = Rendering.of(assets, door.desk)
    frame = Frame(door.desk, Visitors(door), rendering, live)
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    asset_routes(application, assets)
    for add_routes in PLACES:
        add_routes(application, frame)
    rendering.know_paths({str(getattr(route, "path", "")) for route in application.routes})
    tell_refusals(application, frame)
    application.add_middleware(_bounds, door=door)
    return Page(application, live)


def _bounds(application: ASGIApp, door: Doorkeeper) -> Bounds:
    return Bounds(
        application, door.desk.settings.api, door.desk.clock, door.addresses, PAGE_HEADERS, plain_refusal
    )  # fmt: skip
