"""Asks for the rows of many devices, or epochs, with one statement that is the same for however many.

A list of places would need a statement for each length, which SQLAlchemy takes milliseconds to write. So all keys
travel as one value: a list as JSON for SQLite, arrays for PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    select,
)

KEYS, DEVICES, EPOCHS = "its_keys", "its_devices", "its_epochs"


class ManyKeys:
    """For one kind of database. dialect: SQLAlchemy's name of it."""

    def __init__(self, dialect: str) -> None:
        self._lists = dialect == "sqlite"
        self.device_names = (KEYS,) if self._lists else (DEVICES,)
        self.epoch_names = (KEYS,) if self._lists else (DEVICES, EPOCHS)

    def devices(self, devices: Sequence[str]) -> tuple[Any, ...]:
        """The values of `of_devices`, in the order of `device_names`."""
        return (json.dumps(devices),) if self._lists else ([*devices],)

    def epochs(self, keys: Sequence[tuple[str, int]]) -> tuple[Any, ...]:
        """The values of `with_epochs`, in the order of `epoch_names`. keys: device and epoch."""
        if self._lists:
            return (json.dumps(keys),)
        return [device for device, _ in keys], [epoch for _, epoch in keys]

    def of_devices(self, table: Table) -> ColumnElement[bool]:
        """Whose device is one of them."""
        if self._lists:
            each = func.json_each(bindparam(KEYS)).table_valued("value")
            return table.c.device.in_(select(each.c.value))
        return table.c.device == any_(_array(DEVICES, Text()))

    def with_epochs(self, table: Table) -> FromClause:
        """A table, of which those rows are left whose device and epoch are a pair of them, each pair given once."""
        if self._lists:
            each = func.json_each(bindparam(KEYS)).table_valued("value")
            pair: list[Any] = [func.json_extract(each.c.value, literal_column(f"'$[{place}]'")) for place in range(2)]
        else:
            both = func.unnest(_array(DEVICES, Text()), _array(EPOCHS, BigInteger()))
            each = both.table_valued("device", "epoch").render_derived()
            pair = [each.c.device, each.c.epoch]
        return each.join(table, and_(table.c.device == pair[0], table.c.epoch == pair[1]))


def _array(name: str, kind: Any) -> Any:
    from sqlalchemy.dialects.postgresql import ARRAY  # loads slowly what SQLite does not need

    return bindparam(name, type_=ARRAY(kind))
