"""A backup of the server, made and sent: the file lies on the disk meanwhile, and never is in memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.problems import Refusal
from aggregator.backup import file_of, make_backup
from aggregator.operations import Caller
from headway.errors import StoreError

BACKUPS, NAME, MEDIA_TYPE = "backups", "fleet.backup", "application/x-tar"
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the backup, as edge-fleet backup writes it",
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Sent(FileResponse):
    """A file in pieces; `over` is called when all of it is sent, and when nobody takes it any more."""

    def __init__(self, path: Path, over: Callable[[], None]) -> None:
        super().__init__(path, headers={"Cache-Control": "no-store"}, media_type=MEDIA_TYPE, filename=NAME)
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # all of it or nothing: parts that do not belong together would be no backup
            whole = [(name, value) for name, value in scope["headers"] if name != b"range"]
            await super().__call__({**scope, "headers": whole}, receive, send)
        finally:
            self._over()


def backup_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/backups."""
    rule, settings = Depends(door.needs(Role.ADMIN)), desk.settings
    # each takes the room of the store on the disk, twice
    making = threading.BoundedSemaphore(1)

    @application.post("/v1/backups", response_class=FileResponse, responses=FILE)
    def make_backup_file(request: Request, caller: Caller = rule) -> Response:
        """A backup of the server as a file, without keys."""
        database = file_of(settings.database)
        if not making.acquire(blocking=False):
            raise Refusal(503, "a backup is being made; try again later", Retry_After="10")
        folder = None
        try:
            folder, now_s = _folder(settings.state_dir), desk.clock.wall_s()
            made = make_backup(folder / NAME, settings.state_dir, database, False, settings.fleet, now_s)
            with desk.stores.one() as store, store.transaction():
                size = sum(entry.size for entry in made.files)
                desk.operator(store, caller).did("backup", NAME, with_keys=False, sent=True, bytes=size)
            return _Sent(folder / NAME, partial(_over, making, folder))
        except BaseException:
            _over(making, folder)
            raise


def remove_backups(state_dir: Path) -> None:
    """What a process that was killed left of backups."""
    shutil.rmtree(state_dir / BACKUPS, ignore_errors=True)


def _folder(state_dir: Path) -> Path:
    """On the disk of the state folder, which has room for the store; only the owner may look into it."""
    try:
        (state_dir / BACKUPS).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=state_dir / BACKUPS))
    except OSError as error:
        raise StoreError(f"cannot write in {state_dir}: {error.strerror or error}") from error


def _over(making: threading.BoundedSemaphore, folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    making.release()
