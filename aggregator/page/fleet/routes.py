"""``/``: the fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Query, Request, Response

from aggregator.access import Role
from aggregator.operations import forget_group, save_group
from aggregator.page.fleet.numbers import NUMBERS
from aggregator.page.fleet.reading import SORTS, Wanted, fleet_shown
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.visitors import Visitor

Filter = Annotated[str, Query(max_length=4000)]
Sort = Annotated[str, Query(max_length=80)]
Cursor = Annotated[str, Query(max_length=4000)]
Cells = Literal["", "heads"]


def fleet_routes(application: FastAPI, frame: Frame) -> None:
    """``/``, its list on its own for news, and saved filters."""
    look, act = Depends(frame.visitor(Role.SHARE)), Depends(frame.form(Role.OPERATOR))

    def shown(request: Request, visitor: Visitor, wanted: Wanted, template: str, saying: str = "") -> Response:
        found = frame.read(visitor, lambda operator: fleet_shown(operator, wanted))
        return frame.show(
            request, visitor, template, status=422 if found.problem and template == "fleet.html.j2" else 200,
            place="fleet", wanted=wanted, shown=found, numbers=NUMBERS, sorts=SORTS, saying=saying,
            counts=frame.live.pulse().numbers,
        )  # fmt: skip

    @application.get("/")
    def show_fleet(
        request: Request, visitor: Visitor = look, filter: Filter = "", sort: Sort = SORTS[0][0], after: Cursor = "",
        cells: Cells = "", said: str = "",
    ) -> Response:  # fmt: skip
        wanted = Wanted(filter.strip(), sort or SORTS[0][0], after, cells)
        return shown(request, visitor, wanted, "fleet.html.j2", said)

    @application.get("/fleet/devices")
    def show_list(
        request: Request, visitor: Visitor = look, filter: Filter = "", sort: Sort = SORTS[0][0], after: Cursor = "",
        cells: Cells = "",
    ) -> Response:  # fmt: skip
        wanted = Wanted(filter.strip(), sort or SORTS[0][0], after, cells)
        return shown(request, visitor, wanted, "fleet_list.html.j2")

    @application.post("/fleet/filters")
    def save_filter(request: Request, form: Form = act) -> Response:
        name, text = form.text("name"), form.text("filter")
        frame.act(form, lambda operator: save_group(operator, name, text))
        return frame.done(Wanted(f'group == "{name}"').address(), "saved")

    @application.post("/fleet/filters/delete")
    def delete_filter(request: Request, form: Form = act) -> Response:
        name = form.text("name")
        frame.act(form, lambda operator: forget_group(operator, name))
        return frame.done("/", "deleted")
