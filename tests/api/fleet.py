"""A small fleet with its API, asked in this process: a store on disk, users of every role, a clock of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from aggregator.access import ApiSettings, Role
from aggregator.api.application import Api, create_app
from aggregator.config import Settings
from aggregator.operations import Operator, create_token, put_user
from aggregator.registry import backfill
from aggregator.store import DeviceRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore

NOW_S = 1_790_000_000.0
DAY_S = 86_400.0
USERS = {Role.SHARE: "sharer", Role.VIEWER: "vera", Role.OPERATOR: "olga", Role.ADMIN: "ada"}

UNBOUNDED = ApiSettings(
    requests_per_minute=100_000, requests_per_address_minute=100_000, logins_per_address_minute=10_000
)


@dataclass
class Clock:
    """Stands still until it is set, or follows another one."""

    now_s: float = NOW_S
    passed_s: Callable[[], float] = field(default=lambda: 0.0)

    def wall_s(self) -> float:
        return self.now_s + self.passed_s()

    def monotonic_s(self) -> float:
        return self.now_s + self.passed_s()

    def follow(self, passed_s: Callable[[], float]) -> None:
        """From now on so many seconds have passed."""
        self.passed_s = passed_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Fleet:
    """settings.api as given; devices ``pump-1`` to ``pump-3``. tokens: one of each role."""

    folder: Path
    api: ApiSettings = UNBOUNDED
    clock: Clock = field(default_factory=Clock)
    tokens: dict[Role, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = replace(Settings("plant", self.folder / "model.hwb", self.folder), api=self.api)
        self.store = SqlStore(sqlite_url(self.folder))
        with self.store.transaction():
            for number in (1, 2, 3):
                self.store.put_device(DeviceRow(f"pump-{number}", NOW_S - DAY_S, NOW_S - number))
            backfill(self.store)
            operator = Operator(self.store, "local:test", NOW_S)
            for role, name in USERS.items():
                put_user(operator, name, Role.VIEWER if role is Role.SHARE else role, None)
                self.tokens[role] = create_token(operator, name, "test", role, 30 * DAY_S).token

    def app(self) -> Api:
        return create_app(self.settings, lambda: SqlStore(sqlite_url(self.folder)), self.clock)

    def client(self, address: str = "192.0.2.7") -> TestClient:
        return TestClient(self.app(), raise_server_exceptions=False, client=(address, 40_000))

    def as_(self, role: Role, **headers: str) -> Mapping[str, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"Authorization": f"Bearer {self.tokens[role]}", **named}


def detail(response: Any) -> str:
    """What a problem says, after a look at its form."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"title", "status", "detail"}
    assert body["status"] == response.status_code
    assert "\n" not in body["detail"]
    return str(body["detail"])
