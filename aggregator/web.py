"""Everything that `edge-fleet api` serves: the API below ``/v1/``, and the page at every other path.

Both stand behind one doorkeeper: the same users, tokens, rates and stores. Neither calls the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from starlette.types import Receive, Scope, Send

from aggregator.api import Api, Desk, Doorkeeper, Stores, api_of
from aggregator.config import Settings
from aggregator.page import Page, create_page
from aggregator.store import Store
from headway.ports import Clock

API_PREFIX = "/v1/"


class Web:
    """An ASGI application. The API, whose routes take their time, is made when it is first asked, or `prepared`."""

    def __init__(self, door: Doorkeeper) -> None:
        self._door = door
        self.page: Page = create_page(door)

    @cached_property
    def api(self) -> Api:
        return api_of(self._door)

    def prepared(self) -> Web:
        """With its API, for a server that starts: one that could not be made would show in requests alone, as uvicorn
        takes a failure while it asks for the lifespan for an application that has none."""
        _ = self.api
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(API_PREFIX):
            await self.page(scope, receive, send)
            return
        await self.api(scope, receive, send)

    def close(self) -> None:
        """The server stops: end what would wait for news. From any thread."""
        self.page.close()


def create_web(settings: Settings, open_store: Callable[[], Store], clock: Clock) -> Web:
    """API and page of a fleet. open_store: opens one more store, for one thread at a time."""
    return Web(Doorkeeper.of(Desk(settings, Stores(open_store), clock)))
