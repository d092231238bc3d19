"""What every report of a device asks of the database: its rows looked up with those of its batch, statements made once.

A report asks for a dozen rows, most of which are not there. `look_up` asks for all devices of a batch together; what is
written later in the transaction is forgotten there, and asked of the database (`aggregator.store.looked_up`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, Table, bindparam, delete, func, insert, select
from sqlalchemy.sql.expression import Executable

from aggregator.store import schema
from aggregator.store.registry_sql import COLUMNS, TABLE
from aggregator.store.registry_table import TODAY
from aggregator.store.sql_tables import REGISTRY, STATISTICS_COLUMNS, SqlTables, of, of_epoch
from aggregator.store.stored import DeviceRow, PartIndices, StoredPart, StoredStatistics

# made once: values are given by the names that follow
OF_EPOCH = ("its_device", "its_epoch")
STATED = ("counter", "space", "payload", "samples", "counts")
ASKED_BYTES_MAX, UNWRITTEN_BYTES_MAX = 16 << 20, 4 << 20
STATED_TOGETHER = "stated"
DEVICE_COLUMNS = tuple(DeviceRow.__dataclass_fields__)
SEQUENCE_COLUMNS = "device", "epoch", "sequence", "life", "history"
DEVICE_VALUES = attrgetter(*DEVICE_COLUMNS)


def _columns(table: Table, *names: str) -> list[Column[Any]]:
    return [table.c[name] for name in names]


DEVICE = select(*_columns(schema.devices, *DEVICE_COLUMNS)).where(schema.devices.c.device == bindparam("name"))
STATISTICS = select(*_columns(schema.statistics, *STATISTICS_COLUMNS)).where(of_epoch(schema.statistics))
EPOCH_COUNT = select(func.count()).where(schema.statistics.c.device == bindparam("name"))
PART_INDICES = select(*_columns(schema.parts, "counter", "sha256", "part")).where(of_epoch(schema.parts))
SEQUENCE = select(*_columns(schema.sequences, "sequence", "life", "history")).where(of_epoch(schema.sequences))
REMOVED = select(schema.removed_epochs.c.epoch).where(of_epoch(schema.removed_epochs))
# what is looked up together: the device first, the epoch second where there is one
TOGETHER: Mapping[str, tuple[Table, Sequence[str]]] = {
    "devices": (schema.devices, DEVICE_COLUMNS),
    TABLE: (REGISTRY, COLUMNS),
    # most reports need no more of that row
    TODAY: (REGISTRY, ("device", "day", "day_bytes")),
    "statistics": (schema.statistics, ("device", "epoch")),
    "parts": (schema.parts, ("device", "epoch", "counter", "sha256", "part")),
    "sequences": (schema.sequences, ("device", "epoch", "sequence", "life", "history")),
    "removed_epochs": (schema.removed_epochs, ("device", "epoch")),
    "updates": (schema.updates, ("device", "epoch", "sequence")),
}


class SqlReports(SqlTables):
    """Devices, statistics, parts and sequences of one epoch."""

    def look_up(self, devices: Sequence[str]) -> None:
        self._looked_up.expect(TOGETHER, devices, self._ask_together)

    def _ask_together(self, name: str, devices: Sequence[str]) -> list[tuple[Any, ...]]:
        many, (table, columns) = self._many, TOGETHER[name]
        statement = self._together.get(name)
        if statement is None:
            found = select(*_columns(table, *columns)).where(many.of_devices(table))
            statement = self._together[name] = found
        rows = self._rows(statement, many.device_names, many.devices(devices), table)
        return rows if name != "devices" else [(row[0], DeviceRow(*row)) for row in rows]

    def device(self, device: str) -> DeviceRow | None:
        known = self._looked_up.rows("devices", device)
        if known is not None:
            row: DeviceRow | None = known[0][1] if known else None
            return row
        found = self._rows(DEVICE, ("name",), (device,), schema.devices)
        return DeviceRow(*found[0]) if found else None

    def put_device(self, row: DeviceRow) -> None:
        self.put_devices([row])

    def put_devices(self, rows: Sequence[DeviceRow]) -> None:
        for row in rows:
            self._looked_up.forget("devices", row.device)
        self._put_many(schema.devices, DEVICE_COLUMNS, [DEVICE_VALUES(row) for row in rows])

    def look_up_statistics(self, keys: Sequence[tuple[str, int]]) -> None:
        wanted = [key for key in keys if key not in self._asked and key not in self._unwritten]
        if wanted:
            many = self._many
            statement = self._together.get(STATED_TOGETHER)
            if statement is None:
                found = select(*_columns(schema.statistics, *STATISTICS_COLUMNS))
                statement = self._together[STATED_TOGETHER] = found.select_from(many.with_epochs(schema.statistics))
            for row in self._rows(statement, many.epoch_names, many.epochs(wanted), schema.statistics):
                self._now_known(StoredStatistics(*row))

    def statistics(self, device: str, epoch: int) -> StoredStatistics | None:
        asked = self._unwritten.get((device, epoch)) or self._asked.get((device, epoch))
        if asked is not None:
            return asked
        known = self._looked_up.rows("statistics", device)
        if known is not None and all(row[1] != epoch for row in known):
            return None
        found = self._rows(STATISTICS, OF_EPOCH, (device, epoch), schema.statistics)
        if not found:
            return None
        return self._now_known(StoredStatistics(*found[0]))

    def put_statistics(self, row: StoredStatistics) -> None:
        known = self._looked_up.rows("statistics", row.device)
        if known is not None and all(there[1] != row.epoch for there in known):
            known.append((row.device, row.epoch))
        self._asked.pop((row.device, row.epoch), None)
        self._unwritten[row.device, row.epoch] = row
        self._unwritten_bytes += len(row.payload)
        if self._unwritten_bytes > UNWRITTEN_BYTES_MAX:
            self._write_out()

    def epoch_count(self, device: str) -> int:
        known = self._looked_up.rows("statistics", device)
        if known is not None:
            return len(known)
        return int(self._rows(EPOCH_COUNT, ("name",), (device,), schema.statistics)[0][0])

    def put_part(self, row: StoredPart) -> None:
        self._looked_up.forget("parts", row.device)
        self._run(insert(schema.parts), asdict(row))

    def part_indices(self, device: str, epoch: int) -> PartIndices | None:
        rows = self._of(schema.parts, PART_INDICES, device, epoch)
        return PartIndices(rows[0][0], rows[0][1], frozenset(row[2] for row in rows)) if rows else None

    def remove_parts(self, device: str, epoch: int) -> None:
        self._looked_up.forget("parts", device)
        self._run(delete(schema.parts).where(of(schema.parts, device, epoch)))

    def sequence(self, device: str, epoch: int) -> int:
        return self._sequence(device, epoch)[0]

    def sequence_run_id(self, device: str, epoch: int) -> int:
        return self._sequence(device, epoch)[1]

    def sequence_history(self, device: str, epoch: int) -> str:
        return self._sequence(device, epoch)[2]

    def _sequence(self, device: str, epoch: int) -> tuple[int, int, str]:
        found = self._of(schema.sequences, SEQUENCE, device, epoch)
        return (int(found[0][0]), int(found[0][1]), str(found[0][2])) if found else (0, 0, "")

    def put_sequence(self, device: str, epoch: int, sequence: int, run_id: int = 0, history: str = "") -> None:
        row = (device, epoch, sequence, run_id, history)
        known = self._looked_up.rows("sequences", device)
        if known is not None:
            known[:] = [*(there for there in known if there[1] != epoch), row]
        self._put_many(schema.sequences, SEQUENCE_COLUMNS, [row])

    def is_removed(self, device: str, epoch: int) -> bool:
        known = self._looked_up.rows("removed_epochs", device)
        if known is not None:
            return any(row[1] == epoch for row in known)
        return bool(self._rows(REMOVED, OF_EPOCH, (device, epoch), schema.removed_epochs))

    def _now_known(self, row: StoredStatistics) -> StoredStatistics:
        """Remember it until the transaction ends: a report asks three times. Payloads are bounded together."""
        self._asked_bytes += len(row.payload)
        if self._asked_bytes > ASKED_BYTES_MAX:
            self._asked.clear()
            self._asked_bytes = len(row.payload)
        self._asked[row.device, row.epoch] = row
        return row

    def _of(self, table: Table, statement: Executable, device: str, epoch: int) -> list[tuple[Any, ...]]:
        """What a statement says of one epoch, from what was looked up where that is known."""
        known = self._looked_up.rows(table.name, device)
        if known is None:
            return self._rows(statement, OF_EPOCH, (device, epoch), table)
        return [row[2:] for row in known if row[1] == epoch]
