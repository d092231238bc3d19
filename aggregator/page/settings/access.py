"""``/settings``: users, for administrators; tokens, for everybody their own."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request, Response

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.durations import duration_s
from aggregator.operations import (
    NewToken,
    Operator,
    TokenView,
    UserView,
    create_token,
    list_tokens,
    list_users,
    put_user,
    remove_user,
    revoke_token,
)
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.settings.tabs import ACCESS, PLACE, TABS
from aggregator.page.visitors import Visitor

PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 12, 1000
TEMPLATE = "settings_access.html.j2"


def access_routes(application: FastAPI, frame: Frame) -> None:
    """Users are kept by administrators; a token may what its user may, or less."""
    view, own = Depends(frame.visitor(Role.VIEWER)), Depends(frame.form(Role.VIEWER))
    rule = Depends(frame.form(Role.ADMIN))

    def shown(request: Request, visitor: Visitor, made: NewToken | None = None, saying: str = "") -> Response:
        admin, caller = visitor.may(Role.ADMIN), visitor.caller

        def read(operator: Operator) -> tuple[list[UserView], list[TokenView]]:
            users = list_users(operator.store) if admin else []
            return users, list_tokens(operator.store, "" if admin else caller.user)

        users, tokens = frame.read(visitor, read)
        roles = [role for role in (Role.SHARE, Role.VIEWER, Role.OPERATOR, Role.ADMIN) if caller.role.may(role)]
        return frame.show(
            request, visitor, TEMPLATE, status=201 if made else 200, place=PLACE, tabs=TABS, here=ACCESS, users=users,
            tokens=tokens, roles=roles, made=made, saying=saying, base=str(request.base_url).rstrip("/"),
        )  # fmt: skip

    @application.get(ACCESS)
    def show_access(request: Request, visitor: Visitor = view, said: str = "") -> Response:
        return shown(request, visitor, saying=said)

    @application.post("/settings/users")
    def keep_user(request: Request, form: Form = rule) -> Response:
        name, role, password = form.text("name"), _role(form.text("role")), form.text("password", "")
        if password and not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
            raise Refusal(422, f"a password has {PASSWORD_CHARACTERS_MIN} characters or more")
        digest = frame.visitors.door.hashed(password) if password else None
        frame.act(form, lambda operator: put_user(operator, name, role, digest))
        return frame.done(ACCESS, "user")

    @application.post("/settings/users/remove")
    def drop_user(request: Request, form: Form = rule) -> Response:
        name = form.text("name")
        if name == form.visitor.caller.user:
            raise Refusal(409, f"you are {name}; another administrator removes you, or edge-fleet users remove {name}")
        frame.act(form, lambda operator: remove_user(operator, name))
        return frame.done(ACCESS, "removed")

    @application.post("/settings/tokens")
    def make_token(request: Request, form: Form = own) -> Response:
        caller, made = form.visitor.caller, list[NewToken]()
        role, lasts_s = _role(form.text("role")).at_most(caller.role), duration_s(form.text("expires"))
        label = form.text("label", "")
        frame.act(form, lambda operator: made.append(create_token(operator, caller.user, label, role, lasts_s)))
        if not made:
            raise Refusal(409, "this token was made already, and is shown only once; make another one")
        return shown(request, form.visitor, made[0])

    @application.post("/settings/tokens/revoke")
    def end_token(request: Request, form: Form = own) -> Response:
        owner = "" if form.visitor.may(Role.ADMIN) else form.visitor.caller.user
        frame.act(form, lambda operator: revoke_token(operator, form.text("id"), owner))
        return frame.done(ACCESS, "revoked")


def _role(text: str) -> Role:
    if text not in Role.__members__.values():
        raise Refusal(422, f"{text[:40]!r} is no role; there are {', '.join(Role)}")
    return Role(text)
