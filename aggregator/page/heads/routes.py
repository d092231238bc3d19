"""``/heads``: versions, two beside each other, bundles that are kept, and a device that is forgotten."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.operations import (
    NO_BUNDLE,
    InfluenceView,
    Operator,
    Samples,
    delete_bundle,
    hold_head,
    influence_view,
    kept_bundles,
    let_go,
    order_bundle,
    request_removal,
    samples_kept,
    served_bundle,
    shelved,
)
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.heads.reading import forgetting, heads_shown, pair_shown
from aggregator.page.visitors import Visitor
from aggregator.store import DeliveryRow
from headway.errors import BundleError, ConfigError, DataError

PLACE, VERSION_DIGITS_MAX = "heads", 16
Version = Annotated[int, Query(ge=0, le=2**53)]
Text = Annotated[str, Query(max_length=200)]


def heads_routes(application: FastAPI, frame: Frame) -> None:
    """``/heads``, ``/heads/compare``, ``/heads/forget`` and acts on bundles."""
    look, view = Depends(frame.visitor(Role.SHARE)), Depends(frame.visitor(Role.VIEWER))
    act, desk = Depends(frame.form(Role.OPERATOR)), frame.desk

    def kept() -> tuple[list[DeliveryRow], str]:
        """Bundles, and why they cannot be read. In no transaction: reading one checks it."""
        try:
            return kept_bundles(desk.settings.state_dir, desk.clock.wall_s()), ""
        except BundleError as error:
            return [], f"a bundle that is kept here cannot be read: {error}"

    def samples() -> Samples:
        return samples_kept(desk.settings.state_dir, desk.settings.bundle)

    def shown(request: Request, visitor: Visitor, template: str, saying: str = "") -> Response:
        bundles, problem = kept()
        scored = samples()
        found = frame.read(visitor, lambda operator: heads_shown(operator, scored, bundles))
        return frame.show(request, visitor, template, place=PLACE, shown=found, problem=problem, saying=saying)

    @application.get("/heads")
    def show_heads(request: Request, visitor: Visitor = look, said: str = "") -> Response:
        return shown(request, visitor, "heads.html.j2", said)

    @application.get("/heads/list")
    def show_list(request: Request, visitor: Visitor = look) -> Response:
        return shown(request, visitor, "heads_list.html.j2")

    @application.get("/heads/compare")
    def compare_heads(request: Request, space: Text, a: Version, b: Version, visitor: Visitor = look) -> Response:
        scored = samples()
        pair = frame.read(visitor, lambda operator: pair_shown(operator, space, (a, b), scored))
        return frame.show(request, visitor, "heads_compared.html.j2", place=PLACE, pair=pair)

    @application.get("/heads/influence")
    def show_influence(request: Request, visitor: Visitor = view, device: Text = "") -> Response:
        def asked(operator: Operator) -> InfluenceView:
            bundle = served_bundle(desk.settings.state_dir, desk.settings.bundle)
            return influence_view(operator.store, bundle, desk.settings.policy)

        found, problem = None, ""
        try:
            found = frame.read(visitor, asked)
        except (BundleError, ConfigError, DataError) as error:
            problem = str(error)
        return frame.show(
            request, visitor, "heads_influence.html.j2", place=PLACE, found=found, problem=problem, device=device
        )

    @application.post("/heads/hold")
    def hold(request: Request, form: Form = act) -> Response:
        space, version = form.text("space"), form.text("version")
        if not version.isascii() or not version.isdigit() or len(version) > VERSION_DIGITS_MAX:
            raise Refusal(422, f"{version[:40]!r} is no version of a head")
        frame.act(form, lambda operator: hold_head(operator, space, int(version)))
        return frame.done("/heads", "held")

    @application.post("/heads/let-go")
    def release(request: Request, form: Form = act) -> Response:
        space = form.text("space")
        frame.act(form, lambda operator: let_go(operator, space))
        return frame.done("/heads", "let-go")

    @application.post("/heads/bundles/order")
    def order(request: Request, form: Form = act) -> Response:
        sha256 = form.text("bundle")
        row = shelved(sha256, desk.settings.state_dir, desk.clock.wall_s()) if sha256 else NO_BUNDLE
        frame.act(form, lambda operator: order_bundle(operator, row, [], everybody=True))
        return frame.done("/heads", "ordered" if sha256 else "withdrawn")

    @application.post("/heads/bundles/delete")
    def delete(request: Request, form: Form = act) -> Response:
        sha256 = form.text("bundle")
        frame.act(form, lambda operator: delete_bundle(operator, sha256, desk.settings.state_dir))
        return frame.done("/heads", "deleted")

    @application.get("/heads/forget")
    def ask_to_forget(request: Request, visitor: Visitor = view, device: Text = "") -> Response:
        name = device.strip()
        found = frame.read(visitor, lambda operator: forgetting(operator, name)) if name else None
        return frame.show(request, visitor, "forget.html.j2", place=PLACE, found=found, name=name)

    @application.post("/heads/forget")
    def forget(request: Request, form: Form = act) -> Response:
        name = form.text("device")

        def do(operator: Operator) -> None:
            request_removal(operator, name)

        frame.act(form, do)
        return frame.done("/heads", "forgetting")
