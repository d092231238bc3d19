"""Every route for every role: who may, who may not, and no route that this table does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from aggregator.access import Role
from aggregator.api.application import OPENAPI_PATH
from tests.api.fleet import Fleet, detail
from tests.headway.bundles import small_variant

SHA256 = "0" * 64


class Row(NamedTuple):
    """needs: the least role, none for everybody. status: what who may gets, with this body."""

    needs: Role | None
    status: int
    body: Any = None


TABLE = {
    ("GET", "/v1/health"): Row(None, 200),
    ("POST", "/v1/login"): Row(None, 401),  # needs a password instead, see test_access.py
    ("GET", "/v1/me"): Row(Role.SHARE, 200),
    ("GET", "/v1/devices"): Row(Role.SHARE, 200),
    ("GET", "/v1/devices/{device}"): Row(Role.SHARE, 200),
    ("DELETE", "/v1/devices/{device}"): Row(Role.OPERATOR, 202),
    ("POST", "/v1/devices/{device}/quarantine"): Row(Role.OPERATOR, 200, {"reason": "moved"}),
    ("POST", "/v1/devices/{device}/readmit"): Row(Role.OPERATOR, 404),
    ("POST", "/v1/devices/{device}/revoke"): Row(Role.OPERATOR, 404),
    ("POST", "/v1/devices/{device}/forget"): Row(Role.OPERATOR, 202, {"since_s": 1.0}),
    ("GET", "/v1/devices/{device}/forget"): Row(Role.OPERATOR, 200),
    ("GET", "/v1/removals"): Row(Role.OPERATOR, 200),
    ("GET", "/v1/devices/{device}/note"): Row(Role.SHARE, 200),
    ("PUT", "/v1/devices/{device}/note"): Row(Role.OPERATOR, 200, {"text": "behind the boiler"}),
    ("POST", "/v1/tags"): Row(Role.OPERATOR, 200, {"devices": ["pump-1"], "set": {"site": "north"}}),
    ("GET", "/v1/groups"): Row(Role.SHARE, 200),
    ("GET", "/v1/groups/{group}"): Row(Role.SHARE, 404),
    ("PUT", "/v1/groups/{group}"): Row(Role.OPERATOR, 200, {"filter": "labels > 5"}),
    ("PATCH", "/v1/groups/{group}"): Row(Role.OPERATOR, 200, {"add": ["pump-1"]}),
    ("DELETE", "/v1/groups/{group}"): Row(Role.OPERATOR, 404),
    ("GET", "/v1/bundles"): Row(Role.VIEWER, 200),
    ("GET", "/v1/bundles/use"): Row(Role.VIEWER, 200),
    ("POST", "/v1/bundles"): Row(Role.OPERATOR, 201, small_variant().encode()),
    ("DELETE", "/v1/bundles/{sha256}"): Row(Role.OPERATOR, 404),
    ("GET", "/v1/deliveries"): Row(Role.VIEWER, 200),
    ("POST", "/v1/deliveries"): Row(Role.OPERATOR, 202, {"bundle": None, "everybody": True}),
    ("GET", "/v1/rollouts"): Row(Role.SHARE, 200),
    ("POST", "/v1/rollouts"): Row(Role.OPERATOR, 404, {"name": "spring", "bundle": SHA256}),
    ("POST", "/v1/rollouts/forecast"): Row(Role.VIEWER, 200, {"name": "spring"}),
    ("GET", "/v1/rollouts/{name}"): Row(Role.SHARE, 404),
    ("GET", "/v1/rollouts/{name}/devices"): Row(Role.SHARE, 404),
    ("POST", "/v1/rollouts/{name}/acts"): Row(Role.OPERATOR, 404, {"act": "halt"}),
    ("GET", "/v1/certificates"): Row(Role.VIEWER, 200),
    ("POST", "/v1/join-codes"): Row(Role.OPERATOR, 201, {"device": "pump-4"}),
    ("GET", "/v1/devices/{device}/commands"): Row(Role.VIEWER, 200),
    ("POST", "/v1/devices/{device}/commands"): Row(Role.OPERATOR, 202, {"name": "sync-now"}),
    ("POST", "/v1/commands"): Row(Role.OPERATOR, 202, {"name": "sync-now", "filter": 'device == "pump-1"'}),
    ("GET", "/v1/commands/{number}"): Row(Role.VIEWER, 404),
    ("GET", "/v1/commands/{number}/devices"): Row(Role.VIEWER, 404),
    ("GET", "/v1/inbox"): Row(Role.VIEWER, 200),
    ("GET", "/v1/devices/{device}/labels-wanted"): Row(Role.VIEWER, 200),
    ("POST", "/v1/devices/{device}/labels-given"): Row(
        Role.OPERATOR, 202, {"labels": [{"window": "w8", "class_name": "walk"}, {"window": "w9", "class_name": "run"}]}
    ),
    ("POST", "/v1/devices/{device}/labels"): Row(Role.OPERATOR, 202, {"window": "w1", "class_name": "walk"}),
    ("GET", "/v1/settings"): Row(Role.VIEWER, 200),
    ("POST", "/v1/settings"): Row(Role.OPERATOR, 202, {"scope": "fleet", "set": {"sync.interval_s": 300.0}}),
    ("GET", "/v1/devices/{device}/settings"): Row(Role.VIEWER, 200),
    ("GET", "/v1/alerts"): Row(Role.VIEWER, 200),
    ("POST", "/v1/alerts/{number}/acknowledge"): Row(Role.OPERATOR, 404, {"remark": "on my way"}),
    ("GET", "/v1/alert-channels"): Row(Role.VIEWER, 200),
    ("GET", "/v1/alert-rules"): Row(Role.VIEWER, 200),
    ("PATCH", "/v1/alert-rules/{name}"): Row(
        Role.OPERATOR, 200, {"watches": "devices", "condition": "labels > 5", "for_s": 60.0}
    ),
    ("DELETE", "/v1/alert-rules/{name}"): Row(Role.OPERATOR, 404),
    ("GET", "/v1/silences"): Row(Role.VIEWER, 200),
    ("POST", "/v1/silences"): Row(Role.OPERATOR, 201, {"device": "pump-1", "lasts": "2h"}),
    ("DELETE", "/v1/silences/{number}"): Row(Role.OPERATOR, 404),
    ("GET", "/v1/overview"): Row(Role.VIEWER, 200),
    ("GET", "/v1/spaces"): Row(Role.SHARE, 200),
    ("POST", "/v1/spaces/{space}/held-head"): Row(Role.OPERATOR, 404, {"version": 3}),
    ("GET", "/v1/heads"): Row(Role.SHARE, 200),
    # there is no bundle in this folder
    ("GET", "/v1/influence"): Row(Role.VIEWER, 422),
    ("GET", "/v1/privacy"): Row(Role.VIEWER, 200),
    ("GET", "/v1/heads/field"): Row(Role.SHARE, 200),
    ("GET", "/v1/spaces/{space}/heads"): Row(Role.SHARE, 404),
    ("GET", "/v1/spaces/{space}/heads/compared"): Row(Role.SHARE, 422),
    ("GET", "/v1/devices/{device}/confusion"): Row(Role.SHARE, 200),
    ("GET", "/v1/devices/{device}/heads"): Row(Role.SHARE, 200),
    ("GET", "/v1/rollouts/{name}/stages"): Row(Role.SHARE, 404),
    ("GET", "/v1/refusals"): Row(Role.VIEWER, 200),
    ("GET", "/v1/events"): Row(Role.VIEWER, 200),
    ("GET", "/v1/days"): Row(Role.VIEWER, 200),
    ("POST", "/v1/backups"): Row(Role.ADMIN, 200),
    ("GET", "/v1/audit"): Row(Role.VIEWER, 200),
    ("GET", "/v1/audit/check"): Row(Role.VIEWER, 200),
    ("GET", "/v1/users"): Row(Role.ADMIN, 200),
    ("PUT", "/v1/users/{name}"): Row(Role.ADMIN, 200, {"role": "viewer"}),
    ("DELETE", "/v1/users/{name}"): Row(Role.ADMIN, 404),
    ("GET", "/v1/tokens"): Row(Role.VIEWER, 200),
    ("POST", "/v1/tokens"): Row(Role.VIEWER, 201, {"label": "nightly"}),
    ("DELETE", "/v1/tokens/{id}"): Row(Role.VIEWER, 404),
}
NAMES = {
    "device": "pump-1",
    "group": "g",
    "sha256": SHA256,
    "name": "nobody",
    "id": "0" * 16,
    "number": "7",
    "space": "5" * 64,
}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def asked(client: TestClient, method: str, path: str, body: Any, headers: Any) -> Any:
    sent = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    return client.request(method, path.format(**NAMES), headers=headers, **sent)


def test_the_table_knows_every_route(fleet: Fleet) -> None:
    application = fleet.app()
    routes = {
        (method, route.path) for route in application.routes if isinstance(route, APIRoute) for method in route.methods
    }
    others = {route.path for route in application.routes if not isinstance(route, APIRoute)}  # type: ignore[attr-defined]
    assert routes == set(TABLE)
    assert others == {OPENAPI_PATH}


@pytest.mark.parametrize(("method", "path"), TABLE, ids=lambda word: word)
def test_who_may_and_who_may_not(fleet: Fleet, method: str, path: str) -> None:
    row, client = TABLE[method, path], fleet.client()
    for role in Role:
        response = asked(client, method, path, row.body, fleet.as_(role))
        if row.needs is None or role.may(row.needs):
            assert response.status_code == row.status, (role, response.text)
        else:
            assert response.status_code == 403
            assert f"needs the role {row.needs}" in detail(response)
    if row.needs is not None:
        without = asked(client, method, path, row.body, {})
        assert (without.status_code, without.headers["www-authenticate"]) == (401, 'Bearer realm="headway"')
        assert asked(client, method, path, row.body, {"Authorization": "Bearer hwt_guessed"}).status_code == 401
