"""Gradient updates that wait for a round: thousands of them come and go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Select, bindparam, delete, func, not_, select

from aggregator.store import schema
from aggregator.store.sql_reports import SqlReports
from aggregator.store.stored import StoredUpdate

COLUMNS = tuple(StoredUpdate.__dataclass_fields__)
VALUES = attrgetter(*COLUMNS)
# devices whose updates are asked for together
AT_ONCE = 64
# devices that one statement names; SQLite as it is built by default takes 32,766 values, PostgreSQL 65,535
KEPT_MAX = 1000
# what SQLite says of `secure_delete`: 0 off, 1 on, 2 fast
ALWAYS = 1
_COLUMN = schema.updates.c
KEYS = (
    select(_COLUMN.device, _COLUMN.epoch, _COLUMN.sequence)
    .where(_COLUMN.space == bindparam("its_space"))
    .order_by(_COLUMN.device, _COLUMN.epoch, _COLUMN.sequence)
)
REMOVE = delete(schema.updates).where(_COLUMN.space == bindparam("its_space"))
COUNT = select(func.count()).select_from(schema.updates)
COUNT_OF_DEVICE = COUNT.where(_COLUMN.device == bindparam("its_device"))


@cache
def asked_names(places: int) -> tuple[str, ...]:
    """What the values of `updates_of` are called."""
    return ("its_space", *(f"device_{place}" for place in range(places)))


@cache
def updates_of(places: int) -> Select[Any]:
    """The updates of so many devices."""
    names: list[Any] = [bindparam(name) for name in asked_names(places)[1:]]
    wanted = select(*(_COLUMN[name] for name in COLUMNS)).where(_COLUMN.device.in_(names))
    return wanted.where(_COLUMN.space == bindparam("its_space")).order_by(
        _COLUMN.device, _COLUMN.epoch, _COLUMN.sequence
    )


class SqlUpdates(SqlReports):
    """The part of `aggregator.store.protocol.Store` about updates."""

    def put_update(self, row: StoredUpdate) -> None:
        self._looked_up.forget("updates", row.device)
        self._put_many(schema.updates, COLUMNS, [VALUES(row)])

    def updates(self, space: str, devices: Sequence[str] | None = None) -> Iterator[StoredUpdate]:
        if devices is None:
            devices = [*dict.fromkeys(device for device, _, _ in self.update_keys(space))]
        for start in range(0, len(devices), AT_ONCE):
            some = devices[start : start + AT_ONCE]
            # few statements, made once: the last name fills the places that are left
            places = AT_ONCE if len(some) > 1 else 1
            values = (space, *some, *[some[-1]] * (places - len(some)))
            # one device may have thousands that wait
            for row in self._each(updates_of(places), asked_names(places), values):
                yield StoredUpdate(*row)

    def update_keys(self, space: str) -> list[tuple[str, int, int]]:
        return [(row[0], row[1], row[2]) for row in self._rows(KEYS, ("its_space",), (space,))]

    def update_count(self, device: str = "") -> int:
        if not device:
            return int(self._rows(COUNT, (), (), schema.updates)[0][0])
        known = self._looked_up.rows("updates", device)
        if known is not None:
            return len(known)
        return int(self._rows(COUNT_OF_DEVICE, ("its_device",), (device,), schema.updates)[0][0])

    def remove_updates(self, space: str, but_of: frozenset[str] = frozenset()) -> None:
        self._forget_looked_up()
        if self._engine.dialect.name != "sqlite":
            self._take_out(space, but_of)
            return
        # some builds of SQLite overwrite what is deleted, which takes as long as writing it did; what is taken out of a
        # fleet is deleted elsewhere, as the build does it
        cursor = self._connection().connection.cursor()
        overwrites = cursor.execute("PRAGMA secure_delete").fetchone()[0] == ALWAYS
        if overwrites:
            cursor.execute("PRAGMA secure_delete = FAST")
        try:
            self._take_out(space, but_of)
        finally:
            if overwrites:
                cursor.execute("PRAGMA secure_delete = ON")
            cursor.close()

    def _take_out(self, space: str, but_of: frozenset[str]) -> None:
        if len(but_of) > KEPT_MAX:
            gone = sorted({device for device, _, _ in self.update_keys(space)} - but_of)
            for start in range(0, len(gone), KEPT_MAX):
                some = _COLUMN.device.in_(gone[start : start + KEPT_MAX])
                self._run(delete(schema.updates).where(_COLUMN.space == space, some))
        elif but_of:
            kept = _COLUMN.device.in_(sorted(but_of))
            self._run(delete(schema.updates).where(_COLUMN.space == space, not_(kept)))
        else:
            self._change(REMOVE, ("its_space",), (space,))
