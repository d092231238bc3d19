"""What a filter may speak of: fields with their quantities, families of named texts, flags, groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Quantity(StrEnum):
    """What the values of a field are, and with that which operators and units they take."""

    TEXT = "text"
    NUMBER = "a number"
    SHARE = "a share, 0 to 1 or in %"
    BYTES = "bytes"
    TEMPERATURE = "degrees Celsius"
    DURATION = "a duration"


# what one of a unit is worth in the base unit of its quantity
UNITS: Mapping[Quantity, Mapping[str, float]] = {
    Quantity.SHARE: {"%": 0.01},
    Quantity.BYTES: {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    Quantity.DURATION: {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400},
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a device's row.

    columns: of the row that it reads; a text may be any of several (``watch`` or ``watch 1.2``). A duration counts from
    the moment in its column, seconds since 1970, until now. choices: the only texts that there are.
    """

    name: str
    columns: tuple[str, ...]
    quantity: Quantity
    doc: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """fields: by name. families: words before a dot, each of texts by name (``tag.site``); what `plain` names is of one
    text alone and needs no dot (``note``). flags: what holds or does not. Groups are asked for with ``group``."""

    fields: Mapping[str, Field]
    families: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that may begin a comparison, for hints."""
        return (*self.fields, *(f"{family}.NAME" for family in self.families), *self.plain, *self.flags, "group")
