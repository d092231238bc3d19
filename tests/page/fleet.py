"""A fleet with its page, asked in this process: as the API's fleet, with passwords, a browser's cookies and forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from aggregator.access import ApiSettings, Role
from aggregator.access.passwords import hashed
from aggregator.operations import Operator, create_token, put_user
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from aggregator.web import Web, create_web
from testbed.shown_fleet import fill
from tests.api.fleet import NOW_S, UNBOUNDED, USERS, Clock, Fleet

PASSWORD = "a horse that staples"


@cache
def _digest() -> str:
    """One for all: it takes long on purpose."""
    return hashed(PASSWORD)


@dataclass
class PageFleet:
    """The devices of `tests.api.fleet.Fleet`, or `devices` of `testbed.shown_fleet`, and users with passwords."""

    folder: Path
    devices: int = 0
    api: ApiSettings = UNBOUNDED
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.base = Fleet(self.folder, self.api, self.clock)
        self.store: SqlStore = self.base.store
        self.names = fill(self.store, self.devices, NOW_S) if self.devices else [f"pump-{n}" for n in (1, 2, 3)]
        with self.store.transaction():
            operator = Operator(self.store, "local:test", NOW_S)
            for role, name in USERS.items():
                if role is not Role.SHARE:
                    put_user(operator, name, role, _digest())

    def web(self) -> Web:
        return create_web(self.base.settings, lambda: SqlStore(sqlite_url(self.folder)), self.clock)

    @cached_property
    def served(self) -> Web:
        """What all browsers ask that name no other: its routes take their time."""
        return self.web()

    def browser(self, role: Role | None = None, address: str = "192.0.2.7", web: Web | None = None) -> Browser:
        """A client with cookies of its own; logged in when a role is given."""
        browser = Browser(TestClient(web or self.served, raise_server_exceptions=False, client=(address, 40_000)))
        if role is not None:
            browser.client.cookies.set("headway-plant-session", self.session(role))
        return browser

    def session(self, role: Role) -> str:
        """What a log-in puts into the cookie, without the time that a password takes."""
        with self.store.transaction():
            operator = Operator(self.store, "local:test", self.clock.wall_s())
            return create_token(operator, USERS[role], "page", role, 43_200.0).token


class Page(HTMLParser):
    """What tests look for in a page: hidden fields, links, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.links: list[str] = []
        self.forms: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "input" and found.get("type") == "hidden":
            self.hidden.setdefault(found["name"], found.get("value", ""))
        if tag == "a":
            self.links.append(found.get("href", ""))
        if tag == "form":
            self.forms.append(found.get("action", ""))

    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    @property
    def text(self) -> str:
        """Everything that is shown, with single blanks."""
        return re.sub(r"\s+", " ", " ".join(self._texts)).strip()


@dataclass
class Browser:
    """Follows no redirect by itself."""

    client: TestClient

    def get(self, path: str, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers=named, follow_redirects=False)

    def page(self, path: str) -> Page:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return Page(response.text)

    def post(self, path: str, fields: Mapping[str, str], form_of: str | None = "/", **headers: str) -> Any:
        """Send a form; form_of: the page that has it, for its csrf field, None to send none."""
        given = dict(fields)
        if form_of is not None:
            given.setdefault("csrf", Page(self.get(form_of).text).hidden["csrf"])
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, data=given, headers=named, follow_redirects=False)

    def log_in(self, name: str, password: str = PASSWORD, **fields: str) -> Any:
        return self.post("/log-in", {"name": name, "password": password, **fields}, "/log-in")
