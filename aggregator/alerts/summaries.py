"""Says in one line why a device has an alert: the values of the fields that the rule compares."""

from __future__ import annotations

from aggregator.filters import Condition, Field, Quantity, fields_in
from aggregator.store import RegistryRow, Store
from aggregator.store.rows import QUARANTINED
from headway.printable import printable

CHARACTERS_MAX = 300
HOUR_S, DAY_S = 3600.0, 86_400.0


def device_summary(store: Store, condition: Condition, device: str, now_s: float) -> str:
    """In a transaction. now_s: wall clock. What the device says of itself is cut, and harmless on a terminal."""
    row = store.registry.get(device)
    if row is None:
        return "the device is not known any more"
    fields = {field.name: field for field in fields_in(condition)}
    parts = [part for field in fields.values() if (part := _value(row, field, now_s))]
    if "since_refusal" in fields and row.refused_problem:
        parts.append(row.refused_problem)
    if row.problem and "problem" not in fields:
        parts.append(f"problem: {row.problem}")
    if not parts:
        parts += [f"quarantined: {report.problem}" for report in store.rows(QUARANTINED).all(device, count_max=1)]
    return shortened("; ".join(parts) or "its rule holds")


def shortened(text: str) -> str:
    """One harmless line of at most CHARACTERS_MAX characters."""
    line = printable(text)
    return line if len(line) <= CHARACTERS_MAX else line[: CHARACTERS_MAX - 3] + "..."


def _value(row: RegistryRow, field: Field, now_s: float) -> str:
    """Name and value of a field; empty where it is not known."""
    value = getattr(row, field.columns[0])
    if value in (None, ""):
        return ""
    match field.quantity:
        case Quantity.DURATION:
            return f"{field.name} {span(now_s - value)}"
        case Quantity.SHARE:
            return f"{field.name} {100 * value:.1f} %"
        case Quantity.BYTES:
            return f"{field.name} {value / 1e6:,.0f} MB"
        case Quantity.TEMPERATURE:
            return f"{field.name} {value:.0f} C"
        case Quantity.NUMBER:
            return f"{field.name} {value:g}"
        case _:
            return f"{field.name} {value}"


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 2 * HOUR_S:
        return f"{max(seconds, 0.0) / 60:.0f} min"
    return f"{seconds / HOUR_S:.0f} h" if seconds < 2 * DAY_S else f"{seconds / DAY_S:.0f} d"
