"""Users, tokens, and who the caller is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper, only_known_queries
from aggregator.api.desk import Desk
from aggregator.api.models import NAME_PATTERN, Health, Me, TokenWanted, UserWanted
from aggregator.durations import duration_s
from aggregator.operations import Caller

LOGIN_LASTS_S = 43_200.0
UserName = Annotated[str, Path(pattern=NAME_PATTERN)]


def access_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/health, /v1/login, /v1/me, and everything under /v1/users and /v1/tokens."""
    look, view = Depends(door.needs(Role.SHARE)), Depends(door.needs(Role.VIEWER))
    rule, password = Depends(door.needs(Role.ADMIN)), Depends(door.by_password)

    @application.get("/v1/health", response_model=Health, dependencies=[Depends(only_known_queries)])
    def check_health(request: Request) -> Response:
        """Whether the API and its database answer; for everybody."""
        with desk.stores.one() as store, store.reading():
            store.device_count()
        return desk.answer(Health(status="ok"))

    @application.post("/v1/login", status_code=201, response_model=operations.NewToken)
    def login(request: Request, caller: Caller = password) -> Response:
        """A token of twelve hours, for name and password (HTTP Basic)."""
        return desk.act(
            request, caller,
            lambda operator: operations.create_token(operator, caller.user, "login", None, LOGIN_LASTS_S),
            status=201, secret=True, once=False,
        )  # fmt: skip

    @application.get("/v1/me", response_model=Me)
    def show_me(request: Request, caller: Caller = look) -> Response:
        """Who asks, and with which role."""
        return desk.read(request, caller, lambda operator: Me(user=caller.user, role=caller.role))

    @application.get("/v1/users", response_model=list[operations.UserView])
    def list_users(request: Request, caller: Caller = rule) -> Response:
        """All users."""
        return desk.read(request, caller, lambda operator: operations.list_users(operator.store))

    @application.put("/v1/users/{name}", response_model=operations.UserView)
    def put_user(request: Request, name: UserName, wanted: UserWanted, caller: Caller = rule) -> Response:
        """Add a user, or change role or password of one."""
        digest = None if wanted.password is None else door.hashed(wanted.password)
        return desk.act(
            request, caller, lambda operator: operations.put_user(operator, name, wanted.role, digest), once=False
        )

    @application.delete("/v1/users/{name}", status_code=204)
    def delete_user(request: Request, name: UserName, caller: Caller = rule) -> Response:
        """Remove a user and every token of theirs."""
        return desk.act(request, caller, lambda operator: operations.remove_user(operator, name), status=204)

    @application.get("/v1/tokens", response_model=list[operations.TokenView])
    def list_tokens(request: Request, caller: Caller = view) -> Response:
        """The caller's tokens; an administrator sees everybody's."""
        whose = "" if caller.role is Role.ADMIN else caller.user
        return desk.read(request, caller, lambda operator: operations.list_tokens(operator.store, whose))

    @application.post("/v1/tokens", status_code=201, response_model=operations.NewToken)
    def create_token(request: Request, wanted: TokenWanted, caller: Caller = view) -> Response:
        """A token of the caller with no more than the caller's role; with the role share, for a link that looks."""
        role = caller.role if wanted.role is None else wanted.role.at_most(caller.role)
        lasts_s = duration_s(wanted.expires)
        return desk.act(
            request, caller,
            lambda operator: operations.create_token(operator, caller.user, wanted.label, role, lasts_s),
            asked=wanted, status=201, secret=True,
        )  # fmt: skip

    @application.delete("/v1/tokens/{id}", status_code=204)
    def revoke_token(
        request: Request, id: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")], caller: Caller = view
    ) -> Response:
        """Revoke a token of the caller; an administrator revokes anybody's."""
        owner = "" if caller.role is Role.ADMIN else caller.user
        return desk.act(request, caller, lambda operator: operations.revoke_token(operator, id, owner), status=204)
