"""``/settings/groups``: filters and lists of devices that have a name."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Depends, FastAPI, Request, Response

from aggregator.access import Role
from aggregator.operations import GroupView, Operator, change_list, forget_group, list_groups, members_of, save_group
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.settings.tabs import GROUPS, PLACE, TABS
from aggregator.page.visitors import Visitor

MEMBERS_SHOWN_MAX = 50


@dataclass(frozen=True, slots=True)
class GroupShown:
    """members: of a list, the first few."""

    view: GroupView
    members: tuple[str, ...]


def groups_shown(operator: Operator) -> list[GroupShown]:
    """By name."""
    return [
        GroupShown(view, () if view.filter else tuple(members_of(operator, view.group)[:MEMBERS_SHOWN_MAX]))
        for view in list_groups(operator)
    ]


def group_routes(application: FastAPI, frame: Frame) -> None:
    """Groups stand in filters, plans of rollouts, settings from afar and join codes."""
    look, act = Depends(frame.visitor(Role.SHARE)), Depends(frame.form(Role.OPERATOR))

    @application.get(GROUPS)
    def show_groups(request: Request, visitor: Visitor = look, said: str = "") -> Response:
        found = frame.read(visitor, groups_shown)
        return frame.show(
            request, visitor, "settings_groups.html.j2", place=PLACE, tabs=TABS, here=GROUPS, groups=found, saying=said
        )  # fmt: skip

    @application.post("/settings/groups/filter")
    def keep_filter(request: Request, form: Form = act) -> Response:
        name, text = form.text("name"), form.text("filter")
        frame.act(form, lambda operator: save_group(operator, name, text))
        return frame.done(GROUPS, "saved")

    @application.post("/settings/groups/list")
    def change_members(request: Request, form: Form = act) -> Response:
        name, add, remove = form.text("name"), _names(form.text("add", "")), _names(form.text("remove", ""))
        frame.act(form, lambda operator: change_list(operator, name, add, remove))
        return frame.done(GROUPS, "saved")

    @application.post("/settings/groups/delete")
    def drop_group(request: Request, form: Form = act) -> Response:
        name = form.text("name")
        frame.act(form, lambda operator: forget_group(operator, name))
        return frame.done(GROUPS, "deleted")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.replace("\n", ",").split(",") if name.strip()]
