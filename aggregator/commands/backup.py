"""Implements `edge-fleet backup` and `edge-fleet restore`."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from aggregator.audit import local_user, record
from aggregator.backup import Contents, checked_contents, make_backup, restore
from aggregator.commands.alone import alone
from aggregator.commands.done import say
from aggregator.commands.place import Place, until_the_end
from aggregator.reach import RemoteFleet
from aggregator.store import schema
from aggregator.store.sql import SqlStore
from headway.durable import sync_folder, write_durably
from headway.errors import ConfigError, StoreError
from headway.ports import Clock
from headway.printable import printable

UNDONE_SHOWN_MAX = 20
# acts that nothing of the fleet follows from
OF_NO_EFFECT = frozenset({"backup", "restore"})


def back_up(file: Path, with_keys: bool, place: Place, clock: Clock) -> None:
    """``edge-fleet backup``: one file, in which nothing is half written. A store of an older schema stays as it is."""
    database, now_s = place.database_file(), clock.wall_s()
    if not database.exists():
        raise StoreError(f"no aggregator has stored anything in {database.parent}; give --state-dir or --config")
    contents = make_backup(file, place.folder(), database, with_keys, place.fleet, now_s)
    if contents.schema == schema.SCHEMA:
        # opening another one would bring it up to date, and a backup may be made so that there is a way back
        store = until_the_end(SqlStore(f"sqlite:///{database.absolute()}"))
        with store.transaction():
            record(store, local_user(), "backup", file.name, now_s, with_keys=with_keys)
    _say_made(file, contents)


def download_backup(fleet: RemoteFleet, file: Path, with_keys: bool) -> None:
    """``edge-fleet --server URL backup``: FILE is there once all of it is, and every digest in it was compared."""
    if with_keys:
        raise ConfigError("keys do not leave their machine by this way; call the command there, without --server")
    if file.exists():
        raise StoreError(f"{file} is there already; give the backup another name")
    try:
        # beside the target, where there has to be room anyway; only the owner may look into such a folder
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.absolute().parent) as scratch:
            received = Path(scratch) / file.name
            write_durably(received, lambda stream: _received(fleet, stream), 0o600)
            contents = checked_contents(received)
            os.rename(received, file)
        sync_folder(file.absolute().parent)
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror or error}") from error
    _say_made(file, contents)


def _received(fleet: RemoteFleet, stream: BinaryIO) -> None:
    fleet.download_backup(stream)


def restore_backup(file: Path, place: Place, clock: Clock) -> None:
    """``edge-fleet restore``. Raises StoreError while the service, or another program, has the store open."""
    database, folder = place.database_file(), place.folder()
    with alone(folder):
        done = restore(file, folder, database, place.fleet, local_user(), clock.wall_s())
    undone = [row for row in done.undone if row.act not in OF_NO_EFFECT]
    lines = [f"restored {database} as it was on {_moment(done.contents.created_s)}: {done.devices} devices"]
    lines += [f"the store before is kept as {done.kept}"] if done.kept is not None else []
    lines += ["what was done to the fleet since then, and may have to be done again:"] if undone else []
    lines += [f"  {_moment(row.at_s)}  {row.who}  {row.act} {row.subject}" for row in undone[:UNDONE_SHOWN_MAX]]
    if len(undone) > UNDONE_SHOWN_MAX:
        lines.append(f"  and {len(undone) - UNDONE_SHOWN_MAX} more; edge-fleet audit shows them")
    lines += [*done.remarks, "start the service: devices report again what the backup does not know"]
    say(
        "\n".join(map(printable, lines)),
        restored=str(database), created_s=done.contents.created_s, devices=done.devices,
        kept=None if done.kept is None else str(done.kept), undone=[asdict(row) for row in undone],
        remarks=[*done.remarks],
    )  # fmt: skip


def _say_made(file: Path, contents: Contents) -> None:
    size = sum(entry.size for entry in contents.files)
    keys = "with the keys of the fleet's authority" if contents.has_keys else "without keys"
    say(
        f"{file}: {size / 1e6:.1f} MB, {keys}; edge-fleet restore puts it back",
        file=str(file), bytes=size, with_keys=contents.has_keys, created_s=contents.created_s,
    )  # fmt: skip


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
