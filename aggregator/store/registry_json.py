"""Writes rows of the registry as JSON objects: by SQLite itself, or column by column from what another store gave.

A list of 10,000 devices has 400,000 values; whatever Python does with each of them, people wait for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from aggregator.store.registry_row import ONLINE, RegistryRow, Values
from headway.fields import json_line

# SQLite writes 15 digits of these, where a double has up to 17
FRACTIONS = frozenset(field.name for field in fields(RegistryRow) if "float" in str(field.type))
# `link` and `head` under the names of earlier releases
EARLIER = "'online', json(CASE link WHEN 'online' THEN 'true' ELSE 'false' END), 'source', head"
NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def objects_of(names: Sequence[str], rows: Sequence[Values]) -> Iterator[Values]:
    """Of each row the object and what stands behind `names` in it. names: `link` and `head` among them."""
    columns: list[Sequence[Any]] = [*zip(*rows, strict=True)] if rows else [()] * len(names)
    of = dict(zip(names, columns, strict=False))
    template = ", ".join([f'"{name}": %s' for name in names]) + ', "online": %s, "source": %s'
    written = [encoded_column(of[name]) for name in names]
    written += [["true" if link == ONLINE else "false" for link in of["link"]], encoded_column(of["head"])]
    texts = map(f"{{{template}}}".__mod__, zip(*written, strict=True))
    return zip(texts, *columns[len(names) :], strict=True)


def sqlite_parts(names: Sequence[str]) -> tuple[list[str], str]:
    """What to select from SQLite for the object of a row, and the template that it completes. names: of columns."""
    exact = ", ".join([f"'{name}', {name}" for name in names if name not in FRACTIONS])
    fractions = [name for name in names if name in FRACTIONS]
    # the rest of the object goes behind what SQLite wrote, whose closing brace is cut off
    given = [f"rtrim(json_object({exact}, {EARLIER}), '}}')", *map(_finite, fractions)]
    return given, "%s" + "".join([f',"{name}":%s' for name in fractions]) + "}"


def ascii_json(text: str) -> str:
    """JSON with every other character written out: SQLite leaves those that a terminal acts on as they are."""
    return text if text.isascii() else NOT_ASCII.sub(lambda found: encode_basestring_ascii(found[0])[1:-1], text)


def encoded_column(column: Sequence[Any]) -> list[str]:
    """Each value as `json_line` writes it; quickly, because all of a column are mostly of one kind, and alike."""
    different = set(column)
    if len(different) < len(column) // 2:
        known = {value: json_line(value) for value in different}
        return [known[value] for value in column]
    kinds = {*map(type, column)}
    if kinds == {str}:
        return [*map(encode_basestring_ascii, column)]
    # one that is not finite would make the sum so
    if kinds <= {int, float, type(None)} and isfinite(sum(filter(None, different))):
        return ["null" if value is None else repr(value) for value in column]
    return [*map(json_line, column)]


def _finite(name: str) -> str:
    """A number that the template takes as it is, else the text ``null``."""
    return f"CASE WHEN {name} > -9e999 AND {name} < 9e999 THEN {name} ELSE 'null' END"
