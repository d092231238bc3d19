"""Rollouts on the page: the evidence that the service decides by, acts with a remark, a dry run before the start."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from aggregator.access import Role
from aggregator.audit import entries
from aggregator.operations import kept_bundles
from aggregator.page.intervals import WIDTH, Interval
from aggregator.page.rollouts.planning import Thought
from aggregator.rollouts import Act, Outcome, stage_evidence
from aggregator.rollouts.progress import Said
from aggregator.rollouts.rollout_devices import RolloutDevices
from aggregator.store.rows import ROLLOUT_ACTS, ROLLOUT_DEVICES, ROLLOUTS, TRIALS
from headway.errors import ConfigError
from tests.page.fleet import Page, PageFleet
from tests.page.steering import steer

SPRING = "/rollouts/spring"


@pytest.fixture
def rolling(tmp_path: Path) -> PageFleet:
    fleet = PageFleet(tmp_path, 20)
    steer(fleet)
    return fleet


@pytest.mark.parametrize(("worse", "outcome"), [(-0.05, Outcome.PASSED), (0.3, Outcome.FAILED)])
def test_people_see_the_verdict_that_the_service_comes_to(tmp_path: Path, worse: float, outcome: Outcome) -> None:
    fleet = PageFleet(tmp_path, 20)
    steer(fleet, worse)
    store = fleet.store
    with store.transaction():
        rollout = store.rows(ROLLOUTS).get("spring")
        assert rollout is not None
        evidence = stage_evidence(store, rollout, store.rows(ROLLOUT_DEVICES).all(rollout.name))
        rows, told = store.rows(ROLLOUT_DEVICES).all("spring"), {row.device: row for row in store.rows(TRIALS).all()}
        said = {row.device: Said.of(row, told.get(row.device), rollout) for row in store.devices()}
        for each in evidence[:2]:
            service = RolloutDevices(rows, said, set()).verdict(each.number - 1, each.criteria)
            assert each.outcome is service.outcome is outcome
            assert f"{each.served.mean:+.4f}" in service.why
    assert evidence[2].devices == 0
    text = fleet.browser(Role.SHARE).page(SPRING).text
    shown = f"{evidence[1].served.mean:+.4f}".replace("-", "\N{MINUS SIGN}")
    assert f"what is served: {shown}, from" in text
    assert f"Labels say: {outcome} ." in text
    assert text.count("may be at most +0.0500") == text.count("may be at most +0.0400") == 2, "each stage's own margin"


def test_stages_say_who_is_in_them_how_far_they_are_and_where_it_failed(rolling: PageFleet) -> None:
    page = rolling.browser(Role.VIEWER).page(SPRING)
    assert "Stage 1: pump-001, pump-002, pump-003" in page.text
    assert "Stage 2: 50 % of the fleet" in page.text
    assert "Stage 3: everybody" in page.text
    assert "now: trial" in page.text
    assert "its self-test ended with signal 11" in page.text
    assert "stage 1 has soaked" in page.text
    pictures = [found["aria-label"] for tag, found in page.tags if tag == "svg" and found.get("role") == "img"]
    assert any("trying it" in words for words in pictures)
    assert sum("paired" in words or "frozen heads" in words for words in pictures) == 2
    part = rolling.browser(Role.VIEWER).get(f"{SPRING}/now").text
    assert "<html" not in part
    assert 'data-refresh="3"' in part


@pytest.mark.parametrize(
    ("mean", "slack", "margin", "tone"),
    [
        (-0.01, 0.02, 0.05, "good"), (0.2, 0.05, 0.05, "bad"), (0.04, 0.03, 0.05, "warn"),
        (0.04, math.inf, 0.05, "quiet"), (1.0, 0.5, None, "good"), (-1.0, 0.5, None, "bad"), (0.0, 0.0, None, "warn"),
    ],
)  # fmt: skip
def test_an_interval_is_drawn_within_its_line(mean: float, slack: float, margin: float | None, tone: str) -> None:
    drawn = Interval("loss", mean, slack, margin, True)
    assert drawn.tone == tone
    places = [drawn.x(value) for value in (0.0, drawn.low, drawn.mean, drawn.high)]
    assert all(0 < place < WIDTH for place in places)
    assert drawn.x(drawn.low) <= drawn.x(drawn.mean) <= drawn.x(drawn.high)
    assert ("not known yet" in drawn.words) == math.isinf(slack)
    assert "no labelled window yet" in Interval("loss", 0.0, math.inf, 0.05, False).words


def test_an_operator_steers_it_with_a_remark_that_is_kept(rolling: PageFleet) -> None:
    operator = rolling.browser(Role.OPERATOR)
    asked = operator.post(f"{SPRING}/acts", {"act": "halt", "remark": "looked at pump-7 <b>"}, SPRING)
    assert asked.headers["location"] == f"{SPRING}?said=steered"
    with rolling.store.transaction():
        (act,) = rolling.store.rows(ROLLOUT_ACTS).all()
        assert (act.act, act.who, act.remark) == ("halt", "user:olga", "looked at pump-7 <b>")
        assert [*entries(rolling.store)][-1].act == "rollout-halt"
    assert "halt by user:olga: looked at pump-7 <b>" in operator.page(SPRING).text
    assert "takes no resume" in operator.post(f"{SPRING}/acts", {"act": "resume"}, SPRING).text
    assert operator.post(f"{SPRING}/acts", {"act": "explode"}, SPRING).status_code == 400
    assert operator.get("/rollouts/none").status_code == 404
    viewer = rolling.browser(Role.VIEWER)
    assert f"{SPRING}/acts" not in viewer.page(SPRING).forms
    assert viewer.post(f"{SPRING}/acts", {"act": "halt"}, SPRING).status_code == 403


def test_only_acts_that_the_state_takes_are_offered(rolling: PageFleet) -> None:
    page = rolling.browser(Role.OPERATOR).page(SPRING)
    offered = {found["value"] for tag, found in page.tags if tag == "button" and found.get("name") == "act"}
    assert offered == {str(act) for act in (Act.PAUSE, Act.APPROVE, Act.HALT, Act.ROLL_BACK)}


def form(fleet: PageFleet, **fields: str) -> str:
    """The address of a dry run."""
    newest = kept_bundles(fleet.base.settings.state_dir, 0.0)[0]
    return f"/rollouts/new?{Thought.of({'name': 'summer', 'bundle': newest.sha256, **fields}).query}"


def test_a_rollout_begins_only_after_it_was_shown_what_it_would_do(rolling: PageFleet) -> None:
    operator = rolling.browser(Role.OPERATOR)
    assert "Begin this rollout" not in operator.page("/rollouts/new").text
    path = form(rolling, first="pump-001", group="pilot-plant", shares="25, 100", windows="80")
    text = operator.page(path).text
    for stage in ("1: pump-001", "2: group pilot-plant", "3: 25 % of the fleet", "4: everybody"):
        assert stage in text
    assert "Rollout spring is open" in text
    fields = Page(operator.get(path).text).hidden
    busy = operator.post("/rollouts/new", fields, None)
    assert busy.status_code == 409
    assert "let it end or halt it first" in busy.text
    with rolling.store.transaction():
        rolling.store.rows(ROLLOUTS).remove("spring")
    fields = Page(operator.get(path).text).hidden
    begun = operator.post("/rollouts/new", fields, None)
    assert begun.headers["location"] == "/rollouts/summer?said=begun"
    assert operator.post("/rollouts/new", fields, None).status_code == 303  # a second click begins nothing
    with rolling.store.transaction():
        assert [row.name for row in rolling.store.rows(ROLLOUTS).all()] == ["summer"]
        started = [row for row in entries(rolling.store) if row.act == "rollout-start"]
        assert [row.subject for row in started] == ["spring", "summer"]
    assert "Begin this rollout" not in rolling.browser(Role.VIEWER).page(form(rolling, name="autumn")).text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "two words"}, "rollout &#39;two words&#39; is not a valid name"),
        ({"name": "spring"}, "there is a rollout &#39;spring&#39; already"),
        ({"bundle": "0" * 64}, "choose a bundle that is kept here"),
        ({"first": "nobody"}, "no device &#39;nobody&#39;"),
        ({"shares": "50, 10"}, "shares of the stages must grow"),
        ({"shares": "many"}, "a share must be a number, got &#39;many&#39;"),
        ({"soak": "soon"}, "is no duration"),
        ({"windows": "1e9x"}, "labelled windows must be a number"),
        ({"shares": " "}, "has no stage"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_answered_in_one_line(
    rolling: PageFleet, fields: dict[str, str], problem: str
) -> None:
    answer = rolling.browser(Role.OPERATOR).get(form(rolling, **fields))
    assert answer.status_code == 422
    assert problem in answer.text
    assert "Begin this rollout" not in answer.text


def test_a_plan_has_the_stages_of_the_form_in_turn() -> None:
    fields = {"name": "x", "first": "a, b", "group": "g", "shares": "5 %, 100", "soak": "2h", "approve": "yes"}
    plan = Thought.of(fields).plan()
    assert [stage.devices for stage in plan.stages] == [("a", "b"), (), (), ()]
    assert [stage.group for stage in plan.stages] == ["", "g", "", ""]
    assert [stage.share for stage in plan.stages] == [0.0, 0.0, 0.05, 1.0]
    assert {(stage.soak_s, stage.approve) for stage in plan.stages} == {(7200.0, True)}
    assert not Thought.of({"name": "x"}).plan().stages[0].approve
    with pytest.raises(ConfigError, match="the margin must be a number"):
        Thought.of({"name": "x", "margin": "wide"}).plan()
