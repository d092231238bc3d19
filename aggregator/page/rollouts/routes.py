"""``/rollouts``: all of them, one of them, and beginning one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.operations import Operator, act_on_rollout, begin_rollout, kept_bundles, shelved
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.remembering import Remembered
from aggregator.page.rollouts.planning import FIELDS, Thought, dry_run
from aggregator.page.rollouts.reading import Progress, rollout_shown, rollouts_shown
from aggregator.page.visitors import Visitor
from aggregator.page.words import in_path
from aggregator.rollouts import Act
from aggregator.store import DeliveryRow
from headway.errors import BundleError

PLACE = "rollouts"
# open pages ask again every three seconds
REMEMBERED_S, REMEMBERED_MAX = 2.0, 16
Name = Annotated[str, Path(max_length=64)]


def rollouts_routes(application: FastAPI, frame: Frame) -> None:
    """``/rollouts``, ``/rollouts/new``, ``/rollouts/NAME`` and what may be done there."""
    look, view = Depends(frame.visitor(Role.SHARE)), Depends(frame.visitor(Role.VIEWER))
    act, desk = Depends(frame.form(Role.OPERATOR)), frame.desk
    remembered = Remembered[Progress](desk.clock, REMEMBERED_S, REMEMBERED_MAX)

    def bundles() -> list[DeliveryRow]:
        """In no transaction: reading one checks it."""
        try:
            return kept_bundles(desk.settings.state_dir, desk.clock.wall_s())
        except BundleError as error:
            raise Refusal(409, f"a bundle that is kept here cannot be read: {error}") from error

    @application.get("/rollouts")
    def show_rollouts(request: Request, visitor: Visitor = look, said: str = "") -> Response:
        found = frame.read(visitor, rollouts_shown)
        return frame.show(request, visitor, "rollouts.html.j2", place=PLACE, rollouts=found, saying=said)

    @application.get("/rollouts/new")
    def plan_rollout(request: Request, visitor: Visitor = view) -> Response:
        thought, kept = Thought.of(request.query_params), bundles()
        found = frame.read(visitor, lambda operator: dry_run(operator, thought, kept))
        return frame.show(
            request, visitor, "rollout_new.html.j2", status=422 if found.problem else 200, place=PLACE, shown=found,
            thought=thought, bundles=kept,
        )  # fmt: skip

    @application.post("/rollouts/new")
    def start_rollout(request: Request, form: Form = act) -> Response:
        thought = Thought.of({name: form.text(name, "") for name in FIELDS})
        plan, row = thought.plan(), shelved(thought.bundle, desk.settings.state_dir, desk.clock.wall_s())
        frame.act(form, lambda operator: begin_rollout(operator, thought.name, plan, row))
        return frame.done(f"/rollouts/{in_path(thought.name)}", "begun")

    def one(request: Request, visitor: Visitor, name: str, template: str, saying: str = "") -> Response:
        found = frame.read(visitor, lambda operator: rollout_shown(operator, name, remembered))
        return frame.show(request, visitor, template, place=PLACE, shown=found, saying=saying)

    @application.get("/rollouts/{name}")
    def show_rollout(request: Request, name: Name, visitor: Visitor = look, said: str = "") -> Response:
        return one(request, visitor, name, "rollout.html.j2", said)

    @application.get("/rollouts/{name}/now")
    def show_progress(request: Request, name: Name, visitor: Visitor = look) -> Response:
        return one(request, visitor, name, "rollout_now.html.j2")

    @application.post("/rollouts/{name}/acts")
    def steer_rollout(request: Request, name: Name, form: Form = act) -> Response:
        wanted, remark = form.text("act"), form.text("remark", "")
        if wanted not in Act.__members__.values():
            raise Refusal(400, f"a rollout takes {', '.join(Act)}, not {wanted[:40]!r}")

        def do(operator: Operator) -> None:
            act_on_rollout(operator, name, Act(wanted), remark)

        frame.act(form, do)
        return frame.done(f"/rollouts/{in_path(name)}", "steered")
