"""Bundles, orders and rollouts."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import (
    NAME_PATTERN,
    SHA256_PATTERN,
    Asked,
    Beginning,
    Bundle,
    Forecasting,
    Order,
    Ordered,
    StageForecast,
    Steering,
)
from aggregator.api.problems import Refusal
from aggregator.operations import Caller, Operator
from aggregator.rollouts import Plan, default_plan, forecast, plan_of
from aggregator.store import DeliveryRow
from headway.errors import ConflictError, StoreError

UPLOADS, UPLOADS_MAX = "uploads", 2
RolloutName = Annotated[str, Path(pattern=NAME_PATTERN)]
BundleDigest = Annotated[str, Path(pattern=SHA256_PATTERN)]
OCTETS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def rollout_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """Everything under /v1/bundles, /v1/deliveries and /v1/rollouts."""
    look, view = Depends(door.needs(Role.SHARE)), Depends(door.needs(Role.VIEWER))
    act = Depends(door.needs(Role.OPERATOR))
    settings = desk.settings
    # what is uploaded lies on the disk beside the store, which must not run full of it
    uploading = threading.BoundedSemaphore(UPLOADS_MAX)

    @application.get("/v1/bundles", response_model=list[Bundle])
    def list_bundles(request: Request, caller: Caller = view) -> Response:
        """The bundles that are kept to be handed out."""
        return desk.read(
            request, caller,
            lambda operator: [_bundle(row) for row in operations.kept_bundles(settings.state_dir, operator.now_s)],
        )  # fmt: skip

    @application.get("/v1/bundles/use", response_model=list[operations.BundleUse])
    def list_bundle_use(request: Request, caller: Caller = view) -> Response:
        """Every bundle that is known: whether it is handed out, and how many devices are to run it and do."""
        files = operations.handed_out(settings.state_dir)
        return desk.read(request, caller, lambda operator: operations.bundle_use(operator.store, files))

    @application.post("/v1/bundles", status_code=201, response_model=Bundle, openapi_extra=OCTETS)
    async def upload_bundle(request: Request, caller: Caller = act) -> Response:
        """Keep a bundle (.hwb), to be ordered or rolled out; the same bytes are kept once."""
        if not uploading.acquire(blocking=False):
            raise Refusal(503, f"{UPLOADS_MAX} bundles are being uploaded; try again later", Retry_After="10")
        folder = None
        try:
            folder = await run_in_threadpool(_upload_folder, settings.state_dir)
            file = folder / "upload.hwb"
            # each piece is written as it comes: a bundle never is in memory
            with file.open("wb") as kept:
                async for piece in request.stream():
                    await run_in_threadpool(kept.write, piece)
            return await run_in_threadpool(_keep, desk, request, caller, file)
        finally:
            uploading.release()
            if folder is not None:
                await run_in_threadpool(shutil.rmtree, folder, True)

    @application.delete("/v1/bundles/{sha256}", status_code=204)
    def delete_bundle(request: Request, sha256: BundleDigest, caller: Caller = act) -> Response:
        """Delete a bundle that nobody is to run."""
        return desk.act(
            request, caller, lambda operator: operations.delete_bundle(operator, sha256, settings.state_dir), status=204
        )

    @application.get("/v1/deliveries", response_model=list[operations.DeliveryView])
    def list_deliveries(request: Request, caller: Caller = view) -> Response:
        """What is ordered and how far it is."""
        return desk.read(request, caller, lambda operator: operations.list_deliveries(operator.store))

    @application.post("/v1/deliveries", status_code=202, response_model=Ordered)
    def order_bundle(request: Request, wanted: Order, caller: Caller = act) -> Response:
        """Order a bundle for devices, or withdraw the order."""
        row = operations.NO_BUNDLE if wanted.bundle is None else _shelved(desk, wanted.bundle)

        def do(operator: Operator) -> Ordered:
            return Ordered(devices=len(operations.order_bundle(operator, row, wanted.devices, wanted.everybody)))

        return desk.act(request, caller, do, asked=wanted, status=202)

    @application.get("/v1/rollouts", response_model=list[operations.RolloutView])
    def list_rollouts(request: Request, caller: Caller = look) -> Response:
        """All rollouts, the newest first."""
        return desk.read(request, caller, lambda operator: operations.list_rollouts(operator.store))

    @application.post("/v1/rollouts", status_code=201, response_model=operations.RolloutView)
    def begin_rollout(request: Request, wanted: Beginning, caller: Caller = act) -> Response:
        """Begin a rollout, which the running service takes up."""
        plan, row = _plan(wanted.plan), _shelved(desk, wanted.bundle)
        return desk.act(
            request,
            caller,
            lambda operator: operations.begin_rollout(operator, wanted.name, plan, row),
            asked=wanted,
            status=201,
        )

    @application.post("/v1/rollouts/forecast", response_model=list[StageForecast])
    def forecast_rollout(request: Request, wanted: Forecasting, caller: Caller = view) -> Response:
        """Who would be in each stage of a rollout, and how long labels would take."""
        plan = _plan(wanted.plan)
        return desk.read(
            request, caller,
            lambda operator: forecast(operator.store, wanted.name, plan, operator.now_s, wanted.release),
        )  # fmt: skip

    @application.get("/v1/rollouts/{name}", response_model=operations.RolloutView)
    def show_rollout(request: Request, name: RolloutName, caller: Caller = look) -> Response:
        """One rollout."""
        return desk.read(request, caller, lambda operator: operations.rollout_view(operator.store, name))

    @application.get("/v1/rollouts/{name}/devices", response_model=list[operations.RolloutDeviceView])
    def list_rollout_devices(request: Request, name: RolloutName, caller: Caller = look) -> Response:
        """The devices of a rollout, and what each confirmed last."""

        def asked(operator: Operator) -> list[operations.RolloutDeviceView]:
            operations.rollout_view(operator.store, name)
            return operations.rollout_devices(operator.store, name)

        return desk.read(request, caller, asked)

    @application.get("/v1/rollouts/{name}/stages", response_model=list[operations.StageView])
    def list_rollout_stages(request: Request, name: RolloutName, caller: Caller = look) -> Response:
        """What each stage of a rollout shows so far, by which the service decides."""
        return desk.read(request, caller, lambda operator: operations.rollout_stages(operator.store, name))

    @application.post("/v1/rollouts/{name}/acts", status_code=202, response_model=Asked)
    def act_on_rollout(request: Request, name: RolloutName, wanted: Steering, caller: Caller = act) -> Response:
        """Pause, resume, approve, halt or roll back; the running service does so within its housekeeping interval."""

        def do(operator: Operator) -> Asked:
            operations.act_on_rollout(operator, name, wanted.act, wanted.remark)
            return Asked(asked=str(wanted.act), subject=name)

        return desk.act(request, caller, do, asked=wanted, status=202)


def _keep(desk: Desk, request: Request, caller: Caller, file: FilePath) -> Response:
    settings = desk.settings
    if operations.bundle_count(settings.state_dir) >= settings.api.bundles_max:
        raise ConflictError(f"{settings.api.bundles_max} bundles are kept; delete one that nobody runs")
    row = operations.shelve(file, settings.state_dir, settings.api.public_key, desk.clock.wall_s())

    def do(operator: Operator) -> dict[str, Any]:
        operator.did("upload", row.sha256, name=row.name, version=row.version, release=row.release)
        return _bundle(row)

    # the same bytes are the same bundle: there is nothing to do twice
    return desk.act(request, caller, do, status=201, once=False)


def remove_uploads(state_dir: FilePath) -> None:
    """What a process that was killed left of uploads."""
    shutil.rmtree(state_dir / UPLOADS, ignore_errors=True)


def _upload_folder(state_dir: FilePath) -> FilePath:
    """On the disk of the state folder, which is made for files of this size."""
    try:
        (state_dir / UPLOADS).mkdir(parents=True, exist_ok=True)
        return FilePath(tempfile.mkdtemp(dir=state_dir / UPLOADS))
    except OSError as error:
        raise StoreError(f"cannot write in {state_dir}: {error.strerror or error}") from error


def _shelved(desk: Desk, sha256: str) -> DeliveryRow:
    return operations.shelved(sha256, desk.settings.state_dir, desk.clock.wall_s())


def _bundle(row: DeliveryRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name in Bundle.model_fields}


def _plan(given: Mapping[str, Any] | None) -> Plan:
    return default_plan() if given is None else plan_of(given)
