"""Fixtures of the page's tests: a small fleet, one that looks real, and Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser of Playwright; tests open contexts of their own in it."""
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

        def start(fleet: PageFleet) -> str:
            web = fleet.web()
            address = running.enter_context(served(web))
            running.callback(web.close)
            return address

        yield start
