"""``/settings/audit``: who did what to the fleet, and whether the log still is what was written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from aggregator.access import Role
from aggregator.audit import COUNT, problems
from aggregator.operations import Operator, audit_page, last_audit
from aggregator.page.frame import Frame
from aggregator.page.settings.tabs import AUDIT, PLACE, TABS
from aggregator.page.visitors import Visitor
from aggregator.page.words import moment
from aggregator.store.rows import AuditRow
from headway.fields import JsonValue

PAGE_SIZE = 50
PROBLEMS_SHOWN_MAX = 20
# of one value; edge-fleet audit --json has all of it
VALUE_CHARACTERS_MAX = 200
# seconds since 1970 of which a detail may speak, from 2001 to 2286
MOMENT_S_MIN, MOMENT_S_MAX = 1e9, 1e10
Before = Annotated[int, Query(ge=0, le=2**53)]


@dataclass(frozen=True, slots=True)
class EntryView:
    """detail: pairs of name and value, both as text."""

    row: AuditRow
    detail: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Check:
    """Of the whole chain. problems: none where it holds; sha256: of the last entry."""

    problems: tuple[str, ...]
    entries: int
    sha256: str


@dataclass(frozen=True, slots=True)
class AuditShown:
    """The newest entries before a number, newest first. older: what goes into `before` for the next page, 0 for none.
    check: where it was asked for."""

    entries: tuple[EntryView, ...]
    count: int
    older: int
    check: Check | None


def audit_shown(operator: Operator, before: int, check: bool) -> AuditShown:
    """before: number of the entry that the page ends before; 0 for the newest."""
    count = operator.store.number(COUNT)
    last = min(before - 1, count) if before else count
    first = max(last - PAGE_SIZE, 0)
    rows = [row for row in audit_page(operator.store, first, PAGE_SIZE) if row.number <= last]
    entries = tuple(EntryView(row, _detail(row)) for row in reversed(rows))
    return AuditShown(entries, count, first + 1 if first else 0, _check(operator) if check else None)


def audit_routes(application: FastAPI, frame: Frame) -> None:
    """The log is read only; the check reads all of it."""
    view = Depends(frame.visitor(Role.VIEWER))

    @application.get(AUDIT)
    def show_audit(request: Request, visitor: Visitor = view, before: Before = 0, check: bool = False) -> Response:
        found = frame.read(visitor, lambda operator: audit_shown(operator, before, check))
        return frame.show(
            request, visitor, "settings_audit.html.j2", place=PLACE, tabs=TABS, here=AUDIT, shown=found, before=before
        )  # fmt: skip


def _check(operator: Operator) -> Check:
    last = last_audit(operator.store)
    found = tuple(problems(operator.store)[:PROBLEMS_SHOWN_MAX])
    return Check(found, 0 if last is None else last.number, "" if last is None else last.sha256)


def _detail(row: AuditRow) -> tuple[tuple[str, str], ...]:
    found: dict[str, JsonValue] = json.loads(row.detail)
    return tuple(_pair(name, value) for name, value in found.items() if value not in ("", [], {}, None))


def _pair(name: str, value: JsonValue) -> tuple[str, str]:
    """A wall clock's time, which its unit and its size tell, as people read it."""
    if name.endswith("_s") and isinstance(value, int | float) and MOMENT_S_MIN < value < MOMENT_S_MAX:
        return name.removesuffix("_s"), moment(value)
    return name, _shown(value)


def _shown(value: JsonValue) -> str:
    text = (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else json.dumps(value)
    )
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]} …"
