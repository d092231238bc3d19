"""Stores the aggregator's state in a database through SQLAlchemy Core: SQLite, or PostgreSQL by its URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple
from typing import Any

from sqlalchemy import (
    Integer,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from aggregator.store import schema
from aggregator.store.refusal_row import RefusalRow
from aggregator.store.rows import EVERY
from aggregator.store.sql_tables import REGISTRY, STATISTICS_COLUMNS, of
from aggregator.store.sql_updates import SqlUpdates
from aggregator.store.stored import (
    DeliveryRow,
    DeviceRow,
    EventQuery,
    EventRow,
    Ordered,
    StoredHead,
    StoredPart,
    StoredStatistics,
    ToldStatistics,
)

DEVICE_COUNT = select(func.count()).select_from(schema.devices)
HEAD_COLUMNS = tuple(StoredHead.__dataclass_fields__)
# SQLAlchemy would bind the numbers under names of its own, of SQLite also that of an offset that is not given
NEWEST_OF = (
    select(*(schema.heads.c[name] for name in HEAD_COLUMNS))
    .where(schema.heads.c.space == bindparam("its_space"), schema.heads.c.method == bindparam("its_method"))
    .order_by(schema.heads.c.version.desc())
    .limit(literal_column("1"))
    .offset(literal_column("0"))
)
PUT_HEAD = insert(schema.heads).values({name: bindparam(name) for name in HEAD_COLUMNS})
_HEAD, _KEPT = schema.heads.c, schema.heads.alias("kept")
STATISTICS_OF_DEVICE = select(*(schema.statistics.c[name] for name in STATISTICS_COLUMNS)).where(
    schema.statistics.c.space == bindparam("its_space"), schema.statistics.c.device == bindparam("its_device")
)
REMOVE_OLDER_HEADS = delete(schema.heads).where(
    _HEAD.space == bindparam("its_space"),
    _HEAD.version
    < select(_KEPT.c.version)
    .where(_KEPT.c.space == bindparam("its_space"))
    .order_by(_KEPT.c.version.desc())
    .limit(literal_column("1"))
    .offset(bindparam("but_one", type_=Integer))
    .scalar_subquery(),
)
# what each update asks, once for a transaction; among the numbers no other has this name
OF_HEADS = "newest version in heads"
NEWEST_VERSION = select(func.max(schema.heads.c.version))


class SqlStore(SqlUpdates):
    """Implements `aggregator.store.protocol.Store`, see `SqlTables`, `SqlReports` and `SqlUpdates`."""

    def devices(self) -> list[DeviceRow]:
        rows = self._run(select(schema.devices).order_by(schema.devices.c.device)).mappings()
        return [DeviceRow(**row) for row in rows]

    def device_count(self) -> int:
        return int(self._rows(DEVICE_COUNT, (), (), schema.devices)[0][0])

    def oldest_stranger(self, unseen_since_s: float) -> str | None:
        column = schema.devices.c
        strangers = select(column.device).where(column.last_seen_s <= unseen_since_s)
        for its in (schema.statistics.c.device, schema.sequences.c.device):
            strangers = strangers.where(~exists().where(its == column.device))
        found = self._value(strangers.order_by(column.last_seen_s, column.device).limit(1))
        return None if found is None else str(found)

    def every_statistics(self, space: str, device: str | None = None) -> Iterator[StoredStatistics]:
        if device is not None:
            for found in self._each(STATISTICS_OF_DEVICE, ("its_space", "its_device"), (space, device)):
                yield StoredStatistics(*found)
            return
        query = select(schema.statistics).where(schema.statistics.c.space == space)
        # whole reports of a whole fleet are never in memory together
        for row in self._run(query.execution_options(yield_per=64)).mappings():
            yield StoredStatistics(**row)

    def contributions(self, space: str, device: str | None = None) -> list[StoredStatistics]:
        column = schema.statistics.c
        query = select(column.device, column.epoch, column.counter, column.samples, column.counts)
        query = query.where(column.space == space)
        rows = self._run(query if device is None else query.where(column.device == device))
        return [StoredStatistics(row[0], row[1], row[2], space, b"", row[3], row[4]) for row in rows]

    def put_contribution(self, device: str, epoch: int, samples: int, counts: str) -> None:
        query = update(schema.statistics).where(of(schema.statistics, device, epoch))
        self._run(query.values(samples=samples, counts=counts))
        self._forget_looked_up()

    def told(self) -> list[ToldStatistics]:
        column = schema.told.c
        rows = self._run(select(column.device, column.epoch, column.counter, column.samples))
        return [ToldStatistics(*row) for row in rows]

    def told_payload(self, device: str, epoch: int) -> bytes:
        column = schema.told.c
        value = self._value(select(column.payload).where(column.device == device, column.epoch == epoch))
        return b"" if value is None else bytes(value)

    def put_told(self, rows: Sequence[ToldStatistics]) -> None:
        if rows:
            column = schema.told.c
            known = [{"its_device": row.device, "its_epoch": row.epoch} for row in rows]
            same = column.device == bindparam("its_device"), column.epoch == bindparam("its_epoch")
            self._run(delete(schema.told).where(*same), known)
            self._run(insert(schema.told), [asdict(row) for row in rows])

    def remove_told(self, device: str) -> None:
        self._run(delete(schema.told).where(schema.told.c.device == device))

    def spaces(self) -> list[str]:
        found = (self._run(select(table.c.space).distinct()) for table in (schema.statistics, schema.updates))
        return sorted({space for rows in found for (space,) in rows})

    def contributor_count(self, space: str) -> int:
        column = schema.statistics.c
        query = select(func.count(column.device.distinct())).where(column.space == space)
        return int(self._value(query))

    def parts(self, device: str, epoch: int) -> list[StoredPart]:
        query = select(*(schema.parts.c[name] for name in StoredPart.__dataclass_fields__))
        query = query.where(of(schema.parts, device, epoch)).order_by(schema.parts.c.part)
        return [StoredPart(**row) for row in self._run(query).mappings()]

    def unfinished_epochs(self, device: str) -> list[int]:
        column = schema.parts.c
        query = select(column.epoch).where(column.device == device).group_by(column.epoch)
        return [int(row[0]) for row in self._run(query.order_by(func.min(column.id)))]

    def part_count(self) -> int:
        return self._count(schema.parts)

    def oldest_assembly(self) -> tuple[str, int]:
        column = schema.parts.c
        row = self._run(select(column.device, column.epoch).order_by(column.id).limit(1)).one()
        return str(row[0]), int(row[1])

    def head(self, space: str | None = None, method: str | None = None) -> StoredHead | None:
        if space is not None and method is not None:
            rows = self._rows(NEWEST_OF, ("its_space", "its_method"), (space, str(method)), schema.heads)
            return StoredHead(*rows[0]) if rows else None
        query = select(schema.heads).order_by(schema.heads.c.version.desc()).limit(1)
        if space is not None:
            query = query.where(schema.heads.c.space == space)
        if method is not None:
            query = query.where(schema.heads.c.method == method)
        row = self._run(query).mappings().first()
        return None if row is None else StoredHead(**row)

    def head_version(self, space: str | None = None) -> int:
        if space is None:
            known = self._numbers.get(OF_HEADS)
            if known is None:
                found = self._rows(NEWEST_VERSION, (), (), schema.heads)
                known = self._numbers[OF_HEADS] = int(found[0][0] or 0)
            return known
        column = schema.heads.c
        return int(self._value(select(func.max(column.version)).where(column.space == space)) or 0)

    def has_head(self, payload: bytes) -> bool:
        return bool(self._count(schema.heads, schema.heads.c.payload == payload))

    def remove_heads_after(self, version: int) -> None:
        self._numbers.pop(OF_HEADS, None)
        self._run(delete(schema.heads).where(schema.heads.c.version > version))

    def heads(self, space: str, method: str) -> list[StoredHead]:
        column = schema.heads.c
        query = select(schema.heads).where(column.space == space, column.method == method)
        return [StoredHead(**row) for row in self._run(query.order_by(column.version.desc())).mappings()]

    def put_head(self, row: StoredHead, kept_max: int) -> None:
        self._numbers.pop(OF_HEADS, None)
        self._change(PUT_HEAD, HEAD_COLUMNS, astuple(row))
        self._change(REMOVE_OLDER_HEADS, ("its_space", "but_one"), (row.space, kept_max - 1))

    def add_event(self, row: EventRow, kept_max: int) -> None:
        self._run(insert(schema.events), asdict(row))
        newest = int(self._value(select(func.max(schema.events.c.id))))
        self._run(delete(schema.events).where(schema.events.c.id <= newest - kept_max))

    def events(self, count_max: int = 100, device: str | None = None) -> list[EventRow]:
        column = schema.events.c
        query = select(column.device, column.name, column.detail, column.received_s)
        if device is not None:
            query = query.where(column.device == device)
        rows = self._run(query.order_by(column.id.desc()).limit(count_max)).mappings()
        return [EventRow(**row) for row in rows]

    def find_events(self, query: EventQuery) -> list[tuple[int, EventRow]]:
        return [(int(row[0]), EventRow(*row[1:])) for row in self._run(events_wanted(query))]

    def count_refusal(self, row: RefusalRow) -> int:
        column = schema.refusals.c
        known = self._value(select(column.count).where(column.device == row.device, column.reason == row.reason))
        count = row.count + (0 if known is None else int(known))
        self._put(schema.refusals, asdict(row) | {"count": count})
        return count

    def refusals(self) -> list[RefusalRow]:
        column = schema.refusals.c
        rows = self._run(select(schema.refusals).order_by(column.device, column.reason)).mappings()
        return [RefusalRow(**row) for row in rows]

    def deliveries(self) -> list[DeliveryRow]:
        column = schema.deliveries.c
        wanted = select(*(column[name] for name in DeliveryRow.__dataclass_fields__)).order_by(column.device)
        return [DeliveryRow(*row) for row in self._run(wanted)]

    def ordered(self, but_of: Sequence[str]) -> dict[Ordered, int]:
        column = schema.deliveries.c
        named = column.sha256, column.name, column.version, column.release
        counted = select(*named, func.count()).where(column.sha256 != "", column.device.not_in(but_of))
        return {(row[0], row[1], row[2], int(row[3])): int(row[4]) for row in self._run(counted.group_by(*named))}

    def put_delivery(self, row: DeliveryRow) -> None:
        self._put(schema.deliveries, asdict(row))

    def request_removal(self, device: str, requested_s: float) -> None:
        self._put(schema.removal_requests, {"device": device, "requested_s": requested_s})

    def removal_requests(self) -> list[str]:
        column = schema.removal_requests.c.device
        return [str(row[0]) for row in self._run(select(column).order_by(column))]

    def put_clearing(self, topic: str) -> None:
        self._put(schema.clearings, {"topic": topic})

    def clearings(self) -> list[str]:
        column = schema.clearings.c.topic
        return [str(row[0]) for row in self._run(select(column).order_by(column))]

    def remove_clearing(self, topic: str) -> None:
        self._run(delete(schema.clearings).where(schema.clearings.c.topic == topic))

    def remove_epoch(self, device: str, epoch: int) -> None:
        self._forget_looked_up()
        self._put(schema.removed_epochs, {"device": device, "epoch": epoch})
        for table in (schema.statistics, schema.sequences, schema.updates, schema.parts, schema.told):
            self._run(delete(table).where(of(table, device, epoch)))

    def remove_device(self, device: str) -> None:
        self._forget_looked_up()
        for table in (schema.statistics, schema.sequences):
            for (epoch,) in self._run(select(table.c.epoch).where(table.c.device == device)).all():
                self._put(schema.removed_epochs, {"device": device, "epoch": epoch})
        for table in (
            schema.statistics,
            schema.sequences,
            schema.updates,
            schema.parts,
            schema.refusals,
            schema.events,
            schema.devices,
            schema.deliveries,
            schema.removal_requests,
            REGISTRY,
        ):
            self._run(delete(table).where(table.c.device == device))
        for collection in EVERY:
            if collection.of_devices:
                self.rows(collection).remove(device)


def events_wanted(query: EventQuery) -> Select[Any]:
    """Events with their numbers. Those of one device are found by its index, whatever else there is."""
    column = schema.events.c
    wanted = select(column.id, column.device, column.name, column.detail, column.received_s)
    for its, value in ((column.device, query.device), (column.name, query.name)):
        if value:
            wanted = wanted.where(its == value)
    if query.before is not None:
        wanted = wanted.where(column.id < query.before)
    if query.after is not None:
        wanted = wanted.where(column.id > query.after)
    return wanted.order_by(column.id.desc() if query.after is None else column.id).limit(query.count_max)
