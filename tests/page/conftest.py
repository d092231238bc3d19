"""Fixtures of the page's tests: a small fleet, one that looks real, and Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aggregator.access import Role
from tests.api.serving import served
from tests.page.fleet import PageFleet

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def fleet(tmp_path: Path) -> PageFleet:
    return PageFleet(tmp_path)


@pytest.fixture
def shown(tmp_path: Path) -> PageFleet:
    """A fleet with more than a page of devices."""
    return PageFleet(tmp_path, 60)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser of Playwright, which has an event loop while it runs: so it ends with the module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium here (apt install chromium)")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def serve() -> Iterator[Callable[[PageFleet], str]]:
    """Serves fleets over TCP until the test ends; gives the address of each."""
    with ExitStack() as running:
        yield lambda fleet: running.enter_context(serving(fleet))


@contextmanager
def serving(fleet: PageFleet, port: int = 0) -> Iterator[str]:
    """The address of a fleet's page, until the block ends; then streams are closed, as the program does."""
    web = fleet.web()
    with served(web, port) as address:
        yield address
        web.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visit]]:
    """Opens a browser of one person: `visit(fleet, address, Role.OPERATOR)`; every one must end without a complaint."""
    opened: list[Visit] = []

    def start(fleet: PageFleet, address: str, role: Role | None, **options: Any) -> Visit:
        context = chromium.new_context(base_url=address, **({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(15_000)
        if role is not None:
            context.add_cookies([{"name": "headway-plant-session", "value": fleet.session(role), "url": address}])
        opened.append(Visit(context, address))
        return opened[-1]

    yield start
    for each in opened:
        each.context.close()
    for each in opened:
        assert each.elsewhere == []
        assert each.complaints == []


class Visit:
    """A browser's context. complaints: of scripts and of the policy; elsewhere: requests that left the host."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address = context, address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        context.on("request", lambda request: self._asked(request.url))

    def open(self, path: str = "/") -> Any:
        """A tab of it."""
        tab = self.context.new_page()
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("console", self._said)
        tab.goto(path)
        return tab

    def forget(self) -> None:
        """What was complained of until now was meant to be."""
        self.complaints.clear()

    def _asked(self, url: str) -> None:
        if not url.startswith(self.address):
            self.elsewhere.append(url)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
