"""``/inbox``: what waits for a person."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.inbox import KINDS, LabelAct
from aggregator.operations import acknowledge_alert, act_on_rollout, label_window
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.inbox.reading import NAMES, Asked, inbox_shown, may_be_taken_back
from aggregator.page.refusals import is_part
from aggregator.page.visitors import Visitor
from aggregator.rollouts import Act

Text = Annotated[str, Query(max_length=2000)]


def inbox_routes(application: FastAPI, frame: Frame) -> None:
    """``/inbox``, its list and the window at hand on their own for news, and what can be done there."""
    look, act = Depends(frame.visitor(Role.VIEWER)), Depends(frame.form(Role.OPERATOR))

    def shown(request: Request, visitor: Visitor, asked: Asked, template: str, saying: str = "") -> Response:
        found = frame.read(visitor, lambda operator: inbox_shown(operator, asked))
        return frame.show(
            request, visitor, template, status=422 if found.problem else 200, place="inbox", asked=asked, shown=found,
            kinds=KINDS, names=NAMES, undo=may_be_taken_back(found.said), saying=saying,
        )  # fmt: skip

    @application.get("/inbox")
    def show_inbox(
        request: Request, visitor: Visitor = look, kind: Text = "", after: Text = "", device: Text = "",
        window: Text = "", last: Text = "", said: str = "",
    ) -> Response:  # fmt: skip
        return shown(request, visitor, Asked(kind, after, device, window, last), "inbox.html.j2", said)

    @application.get("/inbox/items")
    def show_items(request: Request, visitor: Visitor = look, kind: Text = "", after: Text = "") -> Response:
        return shown(request, visitor, Asked(kind, after), "inbox_items.html.j2")

    @application.get("/inbox/window")
    def show_window(
        request: Request, visitor: Visitor = look, device: Text = "", window: Text = "", last: Text = ""
    ) -> Response:
        return shown(request, visitor, Asked("", "", device, window, last), "inbox_window.html.j2")

    @application.post("/inbox/label")
    def label(request: Request, form: Form = act) -> Response:
        device, window, named = form.text("device"), form.text("window"), form.text("class", "")
        wanted = form.text("act", str(LabelAct.LABEL))
        if wanted not in tuple(LabelAct):
            raise Refusal(400, "the form says nothing of this window; load the page again")
        what = LabelAct(wanted)
        frame.act(
            form, lambda operator: label_window(operator, device, window, what, named if what is LabelAct.LABEL else "")
        )
        # what is taken back comes again; otherwise the next one of the same device
        asked = Asked(form.text("kind", ""), "", device, window if what is LabelAct.UNDO else "", device)
        if is_part(request):
            return shown(request, form.visitor, asked, "inbox_window.html.j2")
        return frame.done(asked.address())

    @application.post("/inbox/acknowledge")
    def acknowledge(request: Request, form: Form = act) -> Response:
        number = form.text("number")
        if not number.isascii() or not number.isdigit() or len(number) > 15:
            raise Refusal(400, "the form names no alert; load the page again")
        frame.act(form, lambda operator: acknowledge_alert(operator, int(number), form.text("remark", "")))
        return frame.done(Asked(form.text("kind", "")).address(), "acknowledged")

    @application.post("/inbox/approve")
    def approve(request: Request, form: Form = act) -> Response:
        name = form.text("rollout")
        frame.act(form, lambda operator: act_on_rollout(operator, name, Act.APPROVE, form.text("remark", "")))
        return frame.done(Asked(form.text("kind", "")).address(), "approved")
