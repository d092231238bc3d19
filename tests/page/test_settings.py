"""Settings on the page: users and tokens, alerts, join codes as QR, groups, and the audit log with its check."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aggregator.access import Role
from aggregator.access.passwords import matches
from aggregator.audit import entries
from aggregator.operations import caller_of, user_row
from aggregator.page.settings.joining import picture_of
from aggregator.store.rows import ALERT_ACTS, ALERT_RULES, AUDIT, GROUPS, JOIN_CODES, SILENCES, TOKENS, USERS
from headway.joining import JoinCode
from tests.api.fleet import NOW_S
from tests.page.fleet import Page, PageFleet
from tests.page.steering import HOSTILE, steer

PLACES = ("/settings", "/settings/alerts", "/settings/join", "/settings/groups", "/settings/audit")


@pytest.fixture
def kept(tmp_path: Path) -> PageFleet:
    fleet = PageFleet(tmp_path, 6)
    steer(fleet)
    return fleet


def acts(fleet: PageFleet) -> list[str]:
    with fleet.store.transaction():
        return [row.act for row in entries(fleet.store)]


def test_a_token_is_shown_once_and_works(kept: PageFleet) -> None:
    viewer = kept.browser(Role.VIEWER)
    fields = {**Page(viewer.get("/settings").text).hidden, "label": "laptop", "role": "admin", "expires": "7d"}
    answer = viewer.post("/settings/tokens", fields, None)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    (token,) = re.findall(r"hwt_[A-Za-z0-9_-]+", answer.text)
    with kept.store.transaction():
        caller = caller_of(kept.store, token, NOW_S)
    assert caller is not None
    assert (caller.user, caller.role) == ("vera", Role.VIEWER)  # no more than whose it is
    again = viewer.post("/settings/tokens", fields, None)
    assert again.status_code == 409
    assert "shown only once" in again.text
    assert token not in viewer.get("/settings").text
    with kept.store.transaction():
        (row,) = [row for row in kept.store.rows(TOKENS).where(user="vera") if row.label == "laptop"]
    assert viewer.post("/settings/tokens/revoke", {"id": row.id}, "/settings").status_code == 303
    with kept.store.transaction():
        assert caller_of(kept.store, token, NOW_S) is None
    assert acts(kept)[-2:] == ["create-token", "revoke-token"]


def test_a_viewer_sees_and_revokes_their_own_tokens_alone(kept: PageFleet) -> None:
    viewer = kept.browser(Role.VIEWER)
    with kept.store.transaction():
        (other, *_) = kept.store.rows(TOKENS).where(user="ada")
    assert other.id not in viewer.get("/settings").text
    assert viewer.post("/settings/tokens/revoke", {"id": other.id}, "/settings").status_code == 404
    assert "Users" not in viewer.page("/settings").text
    assert other.id in kept.browser(Role.ADMIN).get("/settings").text


def test_a_link_that_looks_is_given_as_an_address(kept: PageFleet) -> None:
    operator = kept.browser(Role.OPERATOR)
    answer = operator.post("/settings/tokens", {"role": "share", "expires": "7d", "label": "board"}, "/settings")
    (link,) = re.findall(r"http://testserver/\?share=hwt_[A-Za-z0-9_-]+", answer.text)
    assert kept.browser().get(link.removeprefix("http://testserver")).status_code in (200, 303)


def test_administrators_keep_users(kept: PageFleet) -> None:
    admin = kept.browser(Role.ADMIN)
    new = {"name": "noor", "role": "operator", "password": "twelve characters"}
    assert admin.post("/settings/users", new, "/settings").headers["location"] == "/settings?said=user"
    with kept.store.transaction():
        row = user_row(kept.store, "noor")
    assert row.role == "operator"
    assert matches("twelve characters", row.password)
    assert admin.post("/settings/users", {**new, "role": "viewer", "password": ""}, "/settings").status_code == 303
    with kept.store.transaction():
        assert user_row(kept.store, "noor").password == row.password
    short = admin.post("/settings/users", {**new, "password": "short"}, "/settings")
    assert (short.status_code, "12 characters or more" in short.text) == (422, True)
    assert admin.post("/settings/users", {**new, "role": "king"}, "/settings").status_code == 422
    assert "you are ada" in admin.post("/settings/users/remove", {"name": "ada"}, "/settings").text
    assert admin.post("/settings/users/remove", {"name": "noor"}, "/settings").status_code == 303
    with kept.store.transaction():
        assert kept.store.rows(USERS).get("noor") is None
    assert kept.browser(Role.OPERATOR).post("/settings/users", new, "/settings").status_code == 403


def test_rules_are_made_switched_and_reset(kept: PageFleet) -> None:
    operator = kept.browser(Role.OPERATOR)

    def rule(**fields: str) -> int:
        return int(operator.post("/settings/rules", fields, "/settings/alerts").status_code)

    assert (
        rule(name="hot", watches="devices", condition="temperature > 70", severity="critical", **{"for": "10min"})
        == 303
    )
    with kept.store.transaction():
        row = kept.store.rows(ALERT_RULES).get("hot")
        assert row is not None
    assert (row.condition, row.severity, row.for_s) == ("temperature > 70", "critical", 600.0)
    assert rule(name="drift", enabled="off") == 303
    page = operator.page("/settings/alerts")
    assert "drift changed" in page.text
    assert operator.post("/settings/rules/remove", {"name": "drift"}, "/settings/alerts").status_code == 303
    assert operator.post("/settings/rules/remove", {"name": "hot"}, "/settings/alerts").status_code == 303
    assert rule(name="odd", watches="devices", condition="temprature > 70") == 422
    assert rule(name="odd", watches="stars", condition="x") == 422
    assert acts(kept)[-4:] == ["set-alert-rule", "set-alert-rule", "remove-alert-rule", "remove-alert-rule"]


def test_alerts_are_looked_after_and_silenced(kept: PageFleet) -> None:
    operator = kept.browser(Role.OPERATOR)
    assert "silent for 3 h" in operator.page("/settings/alerts").text
    fields = {"number": "2", "remark": "on my way"}
    assert operator.post("/settings/alerts/acknowledge", fields, "/settings/alerts").status_code == 303
    silence = {"rule": "disk", "lasts": "30min", "remark": "being replaced"}
    assert operator.post("/settings/silences", silence, "/settings/alerts").status_code == 303
    with kept.store.transaction():
        assert [(row.alert, row.remark) for row in kept.store.rows(ALERT_ACTS).all()] == [(2, "on my way")]
        numbers = {row.rule: row.number for row in kept.store.rows(SILENCES).all()}
    assert "being replaced" in operator.page("/settings/alerts").text
    assert (
        operator.post("/settings/silences/end", {"number": str(numbers["disk"])}, "/settings/alerts").status_code == 303
    )
    assert operator.post("/settings/silences/end", {"number": "-1"}, "/settings/alerts").status_code == 422
    assert acts(kept)[-3:] == ["acknowledge-alert", "silence-alerts", "end-silence"]


def test_a_join_code_is_shown_once_with_its_command_and_picture(kept: PageFleet) -> None:
    operator = kept.browser(Role.OPERATOR)
    fields = {
        **Page(operator.get("/settings/join").text).hidden,
        "device": "pump-77",
        "count": "1",
        "groups": "pilot-plant",
    }
    answer = operator.post("/settings/join", {**fields, "expires": "2h"}, None)
    assert answer.status_code == 201
    (code,) = set(re.findall(r"hw1-[a-z2-7]+-[a-z2-7]+", answer.text))
    with kept.store.transaction():
        row = kept.store.rows(JOIN_CODES).get(JoinCode.parse(code).sha256)
    assert row is not None
    assert (row.device, row.count_max, row.expires_s) == ("pump-77", 1, NOW_S + 7200)
    command = f"sudo edge-agent join https://localhost:8884 --code {code}"
    assert command in answer.text
    assert picture_of(command).outline in answer.text
    assert operator.post("/settings/join", {**fields, "expires": "2h"}, None).status_code == 409
    text = operator.get("/settings/join").text
    assert code not in text
    assert "pump-77" in text
    several = operator.post("/settings/join", {"device": "", "count": "20", "expires": "7d"}, "/settings/join")
    assert "--name NAME" in several.text
    assert (
        operator.post("/settings/join", {"device": "", "count": "x", "expires": "7d"}, "/settings/join").status_code
        == 422
    )
    assert kept.browser(Role.VIEWER).post("/settings/join", fields, "/settings/join").status_code == 403
    assert acts(kept).count("enroll") == 2


@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="zbarimg is not installed (Debian: zbar-tools)")
def test_a_phone_reads_the_picture(tmp_path: Path) -> None:
    text = "sudo edge-agent join https://fleet.example:8884 --code hw1-" + "a" * 26 + "-" + "b" * 52
    drawn = picture_of(text)
    rows = [["1"] * drawn.size for _ in range(drawn.size)]
    for x, y, run in re.findall(r"M(\d+) (\d+)\.5h(\d+)", drawn.outline):
        rows[int(y)][int(x) : int(x) + int(run)] = ["0"] * int(run)
    scaled = [" ".join(each for each in row for _ in range(4)) for row in rows for _ in range(4)]
    (tmp_path / "code.pgm").write_text(f"P2 {4 * drawn.size} {4 * drawn.size} 1\n" + "\n".join(scaled))
    command = ["zbarimg", "--raw", "-q", str(tmp_path / "code.pgm")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() == text


def test_groups_by_filter_and_by_list(kept: PageFleet) -> None:
    operator = kept.browser(Role.OPERATOR)
    assert (
        operator.post("/settings/groups/filter", {"name": "warm", "filter": "temperature > 50"}, PLACES[3]).status_code
        == 303
    )
    listed = {"name": "bench", "add": "pump-001, pump-002", "remove": ""}
    assert operator.post("/settings/groups/list", listed, PLACES[3]).status_code == 303
    assert "pump-001, pump-002" in operator.page(PLACES[3]).text
    odd = operator.post("/settings/groups/filter", {"name": "odd", "filter": "temprature > 1"}, PLACES[3])
    assert (odd.status_code, "temperature" in odd.text) == (422, True)
    assert operator.post("/settings/groups/list", {"name": "bench", "add": "nobody"}, PLACES[3]).status_code == 422
    assert operator.post("/settings/groups/delete", {"name": "warm"}, PLACES[3]).status_code == 303
    with kept.store.transaction():
        assert kept.store.rows(GROUPS).get("warm") is None
    assert acts(kept)[-3:] == ["save-group", "list-group", "delete-group"]


def test_the_audit_log_is_paged_and_its_chain_checked(kept: PageFleet) -> None:
    operator, viewer = kept.browser(Role.OPERATOR), kept.browser(Role.VIEWER)
    for number in range(60):
        kept_name = {"name": f"g{number}", "add": "", "remove": ""}
        assert operator.post("/settings/groups/list", kept_name, PLACES[3]).status_code == 303
    page = viewer.page("/settings/audit")
    assert "g59" in page.text
    assert "g5 " not in page.text
    (older,) = [link for link in page.links if link.startswith("/settings/audit?before=")]
    assert "g5 " in viewer.page(older).text
    assert "The chain holds" in viewer.page("/settings/audit?check=true").text
    with kept.store.transaction():
        row = kept.store.rows(AUDIT).get(5)
        assert row is not None
        kept.store.rows(AUDIT).remove(5)
    assert "The chain does not hold" in viewer.page("/settings/audit?check=true").text
    assert "entry 5 is missing" in viewer.page("/settings/audit?check=true").text


def test_texts_of_others_stay_texts_in_every_place(kept: PageFleet) -> None:
    operator = kept.browser(Role.OPERATOR)
    steps = (
        ("/settings/silences", {"rule": "", "device": "pump-001", "lasts": "2h", "remark": HOSTILE}),
        ("/settings/tokens", {"label": HOSTILE, "role": "viewer", "expires": "1d"}),
        ("/rollouts/spring/acts", {"act": "pause", "remark": HOSTILE}),
        ("/settings/rules", {"name": "odd", "watches": "devices", "condition": f'tag.site == "{HOSTILE[:20]}"'}),
    )
    for path, fields in steps:
        assert operator.post(path, fields, "/settings").status_code in (201, 303, 422), path
    for path in (*PLACES, "/rollouts/spring", "/rollouts", "/heads", "/settings/audit?check=true"):
        page = kept.browser(Role.ADMIN).page(path)
        assert [found for tag, found in page.tags if tag == "img"] == [], path
        assert [name for _, found in page.tags for name in found if name.startswith("on")] == [], path
    assert HOSTILE in kept.browser(Role.ADMIN).page("/settings/alerts").text
    assert HOSTILE in kept.browser(Role.ADMIN).page("/settings/audit").text


@pytest.mark.parametrize("path", PLACES)
def test_every_form_that_acts_has_the_token_of_its_session_and_refuses_without(kept: PageFleet, path: str) -> None:
    admin = kept.browser(Role.ADMIN)
    text = admin.get(path).text
    forms = re.findall(r'<form method="post" action="([^"]+)"(.*?)</form>', text, re.DOTALL)
    assert all('name="csrf" value="' in body for _, body in forms)
    for action in {action for action, _ in forms}:
        assert admin.post(action, {"csrf": "wrong"}, None).status_code == 403, action
