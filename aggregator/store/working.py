"""The database of an ingest worker: many of them write at the same time, each row by one of them.

Everybody else (the publisher, commands, the API) has the database to itself in a transaction, through an exclusive lock
(`aggregator.store.engine`). Workers share that lock, so that they hold up each other no more than rows do:

    shared TRANSACTIONS   nobody but workers writes meanwhile
    one lock per device   of all in the batch, in one order: two workers that hold reports of one device go one by one
    FLEET_ROWS            only where something is written that is not of one device: refusals, events, new devices

All end with the transaction, however it ends. PostgreSQL alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection as Names
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, Engine, Text, any_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert

from aggregator.store import schema
from aggregator.store.address import address_of
from aggregator.store.collection import Collection, Row, Rows
from aggregator.store.engine import FLEET_ROWS, WORKING
from aggregator.store.location import SCHEMA
from aggregator.store.refusal_row import RefusalRow
from aggregator.store.rows import APART, HANDOVER, WORKER_CHANGES, WORKER_SUMS, Handover, WorkerChangeRow
from aggregator.store.sql import SqlStore
from aggregator.store.sql_reports import STATED
from aggregator.store.sql_tables import COLLECTIONS
from aggregator.store.stored import EventRow, StoredStatistics
from headway.errors import ConfigError, StoreError

# of one device: the upper half of the number keeps them apart from the other locks
DEVICE_LOCKS = 0x4865_0000_0000_0000
LOCK = text("SELECT pg_advisory_xact_lock(k) FROM unnest(:keys) AS k").bindparams(
    bindparam("keys", type_=ARRAY(BigInteger))
)
_DEVICES = bindparam("devices", type_=ARRAY(Text))
_APART, _CHANGES = COLLECTIONS[APART.name], COLLECTIONS[WORKER_CHANGES.name]
APART_AMONG = select(_APART.c.space, _APART.c.device).where(_APART.c.device == any_(_DEVICES))
CHANGES_AMONG = select(*(_CHANGES.c[name] for name in WORKER_CHANGES.columns())).where(
    _CHANGES.c.device == any_(_DEVICES)
)
_NUMBERS = schema.numbers.c
HANDOVER_AND_SCHEMA = select(
    *(select(_NUMBERS.value).where(_NUMBERS.name == name).scalar_subquery() for name in (HANDOVER, "schema"))
)
_NEW = insert(schema.statistics)
# whoever comes second with an older report changes nothing
PUT_NEWER = _NEW.on_conflict_do_update(
    index_elements=["device", "epoch"],
    set_={name: _NEW.excluded[name] for name in STATED},
    where=schema.statistics.c.counter < _NEW.excluded.counter,
)


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of the devices of a transaction. handover: see `Handover`; apart: by space and device; changes:
    what waits for the publisher, by space, device and epoch."""

    handover: int
    apart: frozenset[tuple[str, str]]
    changes: Mapping[tuple[str, str, int], WorkerChangeRow]


class WorkerStore(SqlStore):
    """Implements `aggregator.store.protocol.Store` for one worker.

    Raises ConfigError for a database that is not PostgreSQL; StoreError, in each transaction, where no publisher takes
    over what workers store, or one of another release has changed the schema.
    """

    def __init__(self, url: str) -> None:
        if address_of(url).get_backend_name() not in ("postgresql", "postgres"):
            raise ConfigError(
                "workers share a PostgreSQL database; give its URL as [storage] database_url, or let edge-fleet serve "
                "take the reports itself"
            )
        self._shares = self._fleet_is_held = False
        # the tables are made, or found, alone
        super().__init__(url)
        self._shares = True

    def transaction(self) -> AbstractContextManager[None]:
        self._fleet_is_held = False
        return super().transaction()

    def _writing(self) -> Engine:
        return self._engine.execution_options(**{WORKING: True}) if self._shares else self._engine

    def hold(self, devices: Names[str], worker: str, fleet: bool = False) -> Held:
        """First of all in a transaction: nobody else stores reports of these devices before it ends, nor under the name
        of this worker. fleet: nor anything that is of no device.
        """
        names = {f"device/{name}" for name in devices} | {f"worker/{worker}"}
        self._run(LOCK, {"keys": sorted({_key(name) for name in names})})
        if fleet:
            self._hold_fleet()
        handover, known = (int(found or 0) for found in self._run(HANDOVER_AND_SCHEMA).one())
        if known != SCHEMA:
            # edge-fleet serve of another release has brought the database up to date while this worker ran
            raise StoreError(
                f"the database has schema {known} by now, this worker writes {SCHEMA}; start it again with that "
                "release of edge-fleet serve"
            )
        if handover == Handover.NONE:
            raise StoreError(
                "no publisher takes over what workers store: set [workers] enabled = true for edge-fleet serve on this "
                "database, and start it first"
            )
        # the locks are taken: what is there now stays as it is
        given = {"devices": sorted(devices)}
        apart = frozenset((row[0], row[1]) for row in self._run(APART_AMONG, given))
        found = (WorkerChangeRow(*row) for row in self._run(CHANGES_AMONG, given))
        return Held(handover, apart, {(row.space, row.device, row.epoch): row for row in found})

    def put_statistics(self, row: StoredStatistics) -> None:
        if not self._run(PUT_NEWER, asdict(row)).rowcount:
            raise StoreError(f"a newer report of {row.device} was stored by somebody who holds no lock for it")
        # what was looked up of the device is known no more
        self._asked.pop((row.device, row.epoch), None)
        self._looked_up.forget("statistics", row.device)

    def rows(self, collection: Collection[Row]) -> Rows[Row]:
        if not collection.of_devices and collection.name not in (WORKER_SUMS.name, WORKER_CHANGES.name):
            self._hold_fleet()
        return super().rows(collection)

    def device_count(self) -> int:
        self._hold_fleet()
        return super().device_count()

    def oldest_stranger(self, unseen_since_s: float) -> str | None:
        # another worker may hold a report of it: only the publisher gives its place to others
        return None

    def add_event(self, row: EventRow, kept_max: int) -> None:
        self._hold_fleet()
        super().add_event(row, kept_max)

    def count_refusal(self, row: RefusalRow) -> int:
        self._hold_fleet()
        return super().count_refusal(row)

    def _hold_fleet(self) -> None:
        # after the locks of devices, which nobody waits for who has this one
        if self._shares and not self._fleet_is_held:
            self._run(LOCK, {"keys": [FLEET_ROWS]})
            self._fleet_is_held = True


def _key(name: str) -> int:
    """Two names may share a lock; they then wait for each other, and nothing else."""
    return DEVICE_LOCKS + zlib.crc32(name.encode())
