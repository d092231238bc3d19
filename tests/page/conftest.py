"""Fixtures of the page's tests: a small fleet, one that looks real, and Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from aggregator.access import Role
from tests.api.serving import served
from tests.page.fleet import PageFleet

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests that cost little, where nobody guesses; tests/api/test_access.py takes those that cost a lot."""
    monkeypatch.setattr("aggregator.access.passwords.HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def fleet(tmp_path: Path) -> PageFleet:
    return PageFleet(tmp_path)


@pytest.fixture
def shown(tmp_path: Path) -> PageFleet:
    """A fleet with more than a page of devices."""
    return PageFleet(tmp_path, 60)


@pytest.fixture(scope="session")
def chromium_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One browser for the session; where it takes commands."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here (apt install chromium)")
    profile = tmp_path_factory.mktemp("chromium")
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    words += ["--disable-background-networking", f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        found = (re.search(r"listening on (ws://\S+)", line) for line in process.stderr)
        address = next((match[1] for match in found if match), None)
        if address is None:
            pytest.fail(f"chromium ended with {process.wait()} before it listened")
        # what it complains of must not fill the pipe
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        yield address
        os.killpg(process.pid, signal.SIGKILL)
        reader.join(10)


@pytest.fixture(scope="module")
def chromium(chromium_address: str) -> Iterator[Any]:
    """Playwright on that browser. It has an event loop while it runs, so it ends with the module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.connect_over_cdp(chromium_address)
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
