"""Requests as programs send them: pages, tags of content, keys, bounds, and every error as a problem."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.access import ApiSettings, Role
from aggregator.api.application import clean_up
from aggregator.audit import entries, problems
from aggregator.commands.api import serve_api
from aggregator.core import Aggregator
from aggregator.effects import Instant
from aggregator.policy import Policy
from aggregator.store.rows import DEVICE_COMMANDS, DONE_ACTS
from headway.stopping import StopRequest
from tests.aggregator.fleets import model
from tests.api.fleet import DAY_S, NOW_S, Fleet, detail
from tests.headway.bundles import small_variant


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def acts(fleet: Fleet) -> list[tuple[str, str]]:
    with fleet.store.transaction():
        assert problems(fleet.store) == []
        return [(row.act, row.who) for row in entries(fleet.store) if row.who.startswith("user:")]


def test_devices_come_in_pages_and_as_filtered(fleet: Fleet) -> None:
    client, headers = fleet.client(), fleet.as_(Role.VIEWER)
    first = client.get("/v1/devices", headers=headers, params={"limit": 2, "sort": "-device"}).json()
    assert [device["device"] for device in first["devices"]] == ["pump-3", "pump-2"]
    rest = client.get(
        "/v1/devices", headers=headers, params={"limit": 2, "sort": "-device", "after": first["next"]}
    ).json()
    assert ([device["device"] for device in rest["devices"]], rest["next"]) == (["pump-1"], "")
    found = client.get("/v1/devices", headers=headers, params={"filter": 'device == "pump-2"'}).json()
    assert [device["device"] for device in found["devices"]] == ["pump-2"]
    shown = client.get("/v1/devices/pump-2", headers=headers).json()
    assert (shown["device"], shown["groups"], shown["days"][0]["day"]) == ("pump-2", [], "2026-09-21")


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "said"),
    [
        ("GET", "/v1/nothing", {}, 404, "Not Found"),
        ("PUT", "/v1/devices", {}, 405, "Method Not Allowed"),
        ("GET", "/v1/devices/pump-9", {}, 404, "no device 'pump-9'"),
        ("GET", "/v1/devices/..%2F", {}, 404, "Not Found"),
        ("GET", "/v1/devices/_x", {}, 422, "path.device"),
        ("GET", "/v1/devices?limit=0", {}, 422, "query.limit"),
        ("GET", "/v1/devices?filter=labels+%3E", {}, 422, "filter"),
        ("GET", "/v1/devices?after=x", {}, 422, "cursor 'x'"),
        ("POST", "/v1/tags", {"json": {"devices": ["pump-1"], "sets": {}}}, 422, "body.sets"),
        ("POST", "/v1/tags", {"json": {"devices": ["pump-1"], "set": {"a": "\x1b[2J"}}}, 422, "do not print"),
        ("POST", "/v1/tags", {"content": b"{"}, 422, "body"),
        ("PUT", "/v1/devices/pump-1/note", {"content": b"x" * 1_048_577}, 413, "at most 1048576 bytes"),
        ("POST", "/v1/bundles", {"content": b"no bundle"}, 422, "bundle"),
        ("POST", "/v1/rollouts", {"json": {"name": "a", "bundle": "0" * 64, "plan": {"x": 1}}}, 422, "plan"),
    ],
)
def test_every_error_is_a_problem(
    fleet: Fleet, method: str, path: str, sent: dict[str, object], status: int, said: str
) -> None:
    response = fleet.client().request(method, path, headers=fleet.as_(Role.ADMIN), **sent)  # type: ignore[arg-type]
    assert response.status_code == status
    assert said in detail(response)
    assert acts(fleet) == []


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("aggregator.operations.device_in_full", broken)
    response = fleet.client().get("/v1/devices/pump-1", headers=fleet.as_(Role.VIEWER))
    assert response.status_code == 500
    assert detail(response) == "the server has a fault; its log says where"


def test_a_body_in_pieces_is_bounded_too(fleet: Fleet) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield b"x" * 65_536

    response = fleet.client().put("/v1/devices/pump-1/note", headers=fleet.as_(Role.ADMIN), content=pieces())
    assert response.status_code == 413
    detail(response)


def test_who_has_it_already_is_told_so(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR))
    first = client.get("/v1/devices", headers=headers)
    tag = first.headers["etag"]
    again = client.get("/v1/devices", headers=headers | {"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    client.put("/v1/devices/pump-1/note", headers=headers, json={"text": "new"})
    assert client.get("/v1/devices", headers=headers | {"If-None-Match": tag}).status_code == 200


def test_what_has_changed_meanwhile_is_not_overwritten(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR))
    tag = client.get("/v1/devices/pump-1/note", headers=headers).headers["etag"]
    mine = client.put("/v1/devices/pump-1/note", headers=headers | {"If-Match": tag}, json={"text": "mine"})
    assert mine.status_code == 200
    late = client.put("/v1/devices/pump-1/note", headers=headers | {"If-Match": tag}, json={"text": "late"})
    assert late.status_code == 412
    assert client.get("/v1/devices/pump-1/note", headers=headers).json() == {"text": "mine"}
    meaningless = client.post("/v1/tags", headers=headers | {"If-Match": tag}, json={"devices": ["pump-1"]})
    assert (meaningless.status_code, "If-Match" in detail(meaningless)) == (400, True)
    assert acts(fleet) == [("note", "user:olga")]


def test_an_act_with_a_key_is_done_once(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR, Idempotency_Key="k-1"))
    body = {"devices": ["pump-1"], "set": {"site": "north"}}
    first, second = (client.post("/v1/tags", headers=headers, json=body) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert (first.headers.get("idempotent-replayed"), second.headers["idempotent-replayed"]) == (None, "true")
    other = client.post("/v1/tags", headers=headers, json=body | {"set": {"site": "south"}})
    assert (other.status_code, "another request" in detail(other)) == (422, True)
    # of another user it is another key
    admin = dict(fleet.as_(Role.ADMIN, Idempotency_Key="k-1"))
    assert client.post("/v1/tags", headers=admin, json=body).status_code == 200
    assert acts(fleet) == [("tag", "user:olga"), ("tag", "user:ada")]
    fleet.clock.advance(DAY_S)
    assert client.post("/v1/tags", headers=headers, json=body).status_code == 200
    assert len(acts(fleet)) == 3


def test_labels_of_several_windows_are_given_once_by_key(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR, Idempotency_Key="k-1"))
    path = "/v1/devices/pump-1/labels-given"
    body = {"labels": [{"window": "w1", "class_name": "walk"}, {"window": "w2", "class_name": "run"}]}
    first, second = (client.post(path, headers=headers, json=body) for _ in range(2))
    assert (first.status_code, second.content) == (202, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert [row["window"] for row in first.json()] == ["w1", "w2"]
    # the key was lost: the same labels under another one change nothing
    again = client.post(path, headers=headers | {"Idempotency-Key": "k-2"}, json=body)
    assert [row["command"] for row in again.json()] == [row["command"] for row in first.json()]
    torn = {"labels": [*body["labels"], {"window": "w3", "class_name": "run"}, {"window": "w3", "class_name": "walk"}]}
    refused = client.post(path, headers=headers | {"Idempotency-Key": "k-3"}, json=torn)
    assert (refused.status_code, "say one" in detail(refused)) == (422, True)
    with fleet.store.reading():
        rows = fleet.store.rows(DEVICE_COMMANDS).all("pump-1")
    assert sorted(json.loads(row.arguments)["window"] for row in rows if row.name == "label") == ["w1", "w2"]


def test_an_act_that_failed_may_be_tried_again_under_its_key(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR, Idempotency_Key="k-1"))
    path, body = "/v1/groups/late", {"add": ["pump-4"]}
    assert client.patch(path, headers=headers, json=body).status_code == 422
    assert client.patch(path, headers=headers, json={"add": ["pump-1"]}).status_code == 200


def test_a_secret_is_told_once(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR, Idempotency_Key="k-1"))
    assert client.post("/v1/join-codes", headers=headers, json={"device": "pump-4"}).status_code == 201
    again = client.post("/v1/join-codes", headers=headers, json={"device": "pump-4"})
    assert (again.status_code, "only once" in detail(again)) == (409, True)
    assert [act for act, _ in acts(fleet)] == ["enroll"]


def test_keys_are_bounded_and_go_when_they_are_over(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.api.desk.DONE_ACTS_MAX", 2)
    client = fleet.client()

    def noted(key: str) -> int:
        headers = fleet.as_(Role.OPERATOR, Idempotency_Key=key)
        return client.put("/v1/devices/pump-1/note", headers=headers, json={"text": key}).status_code

    assert [noted("a"), noted("b"), noted("c")] == [200, 200, 429]
    assert [act for act, _ in acts(fleet)] == ["note", "note"]
    fleet.clock.advance(DAY_S)
    assert noted("c") == 200
    with fleet.store.transaction():
        assert fleet.store.rows(DONE_ACTS).count("user:olga") == 1
    assert noted("k" * 256) == 400


def test_a_bundle_is_uploaded_ordered_and_rolled_out(fleet: Fleet) -> None:
    client, headers = fleet.client(), dict(fleet.as_(Role.OPERATOR))
    kept = client.post("/v1/bundles", headers=headers, content=small_variant().encode()).json()
    assert client.get("/v1/bundles", headers=headers).json() == [kept]
    assert not list((fleet.folder / "uploads").iterdir())
    sha256 = kept["sha256"]
    began = client.post("/v1/rollouts", headers=headers, json={"name": "spring", "bundle": sha256})
    assert (began.status_code, began.json()["state"]) == (201, "running")
    second = client.post("/v1/rollouts", headers=headers, json={"name": "summer", "bundle": sha256})
    assert (second.status_code, "let it end" in detail(second)) == (409, True)
    assert client.delete(f"/v1/bundles/{sha256}", headers=headers).status_code == 409
    stopped = client.post("/v1/rollouts/spring/acts", headers=headers, json={"act": "halt", "remark": "too early"})
    assert stopped.status_code == 202
    with fleet.store.transaction():
        core = Aggregator("plant", model(), Policy(), fleet.store)
        core.tick(Instant(1.0, NOW_S))
    shown = client.get("/v1/rollouts/spring", headers=headers).json()
    assert (shown["state"], shown["why"]) == ("halted", "halt by user:olga: too early")
    assert client.get("/v1/rollouts/spring/devices", headers=headers).json() == []
    ordered = client.post("/v1/deliveries", headers=headers, json={"bundle": sha256, "devices": ["pump-1"]})
    assert (ordered.status_code, ordered.json()) == (202, {"devices": 1})
    line = client.get("/v1/deliveries", headers=headers).json()
    assert [(row["device"], row["ordered"], row["state"]) for row in line] == [("pump-1", "3", "not told yet")]
    assert client.delete(f"/v1/bundles/{sha256}", headers=headers).status_code == 409
    client.post("/v1/deliveries", headers=headers, json={"bundle": None, "devices": ["pump-1"]})
    assert client.delete(f"/v1/bundles/{sha256}", headers=headers).status_code == 204
    assert {who for _, who in acts(fleet)} == {"user:olga"}


def test_uploads_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    size = len(small_variant().encode())
    fleet = Fleet(tmp_path, ApiSettings(bundle_bytes_max=size, bundles_max=1))
    client, headers = fleet.client(), fleet.as_(Role.OPERATOR)
    assert client.post("/v1/bundles", headers=headers, content=b"x" * (size + 1)).status_code == 413
    assert client.post("/v1/bundles", headers=headers, content=small_variant(3).encode()).status_code == 201
    more = client.post("/v1/bundles", headers=headers, content=small_variant(4).encode())
    assert (more.status_code, "delete one" in detail(more)) == (409, True)


def test_few_uploads_at_a_time_and_nothing_is_left_of_a_broken_one(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = fleet.folder / "uploads" / "killed"
    left.mkdir(parents=True)
    clean_up(fleet.settings)
    assert not left.exists()
    client, headers = fleet.client(), fleet.as_(Role.OPERATOR)
    assert client.post("/v1/bundles", headers=headers, content=b"no bundle").status_code == 422
    assert list((fleet.folder / "uploads").iterdir()) == []
    monkeypatch.setattr("aggregator.api.rollout_routes.UPLOADS_MAX", 0)
    busy = fleet.client().post("/v1/bundles", headers=headers, content=small_variant().encode())
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "10")


def test_a_removal_is_carried_out_by_the_running_service(fleet: Fleet) -> None:
    client, headers = fleet.client(), fleet.as_(Role.OPERATOR)
    assert client.delete("/v1/devices/pump-1", headers=headers).json() == {"asked": "remove", "subject": "pump-1"}
    assert client.get("/v1/devices/pump-1", headers=headers).status_code == 200
    with fleet.store.transaction():
        Aggregator("plant", model(), Policy(), fleet.store).tick(Instant(1.0, NOW_S))
    assert client.get("/v1/devices/pump-1", headers=headers).status_code == 404


def test_the_audit_log_is_read_in_pages_and_checked(fleet: Fleet) -> None:
    client, headers = fleet.client(), fleet.as_(Role.VIEWER)
    numbers, after = [], 0
    while True:
        page = client.get("/v1/audit", headers=headers, params={"after": after, "limit": 3}).json()
        numbers += [entry["number"] for entry in page["entries"]]
        if not page["next"]:
            break
        after = page["next"]
    assert numbers == list(range(1, 9))
    checked = client.get("/v1/audit/check", headers=headers).json()
    assert (checked["problems"], checked["entries"]) == ([], 8)


def test_nobody_waits_for_who_writes(fleet: Fleet) -> None:
    client, headers = fleet.client(), fleet.as_(Role.VIEWER)
    with fleet.store.transaction():
        fleet.store.put_number("held", 1)
        # the first request opens a store
        assert client.get("/v1/health").json() == {"status": "ok"}
        assert client.get("/v1/devices", headers=headers).status_code == 200


def test_answers_do_not_run_in_a_browser(fleet: Fleet) -> None:
    answer = fleet.client().get("/v1/health")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert json.loads(answer.content) == {"status": "ok"}


def test_an_api_that_cannot_be_made_is_a_start_that_fails(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()
    stop.request()
    monkeypatch.setattr(StopRequest, "on_signals", lambda: stop)
    monkeypatch.setattr("aggregator.web.api_of", lambda door: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        serve_api(fleet.settings, fleet.clock)
