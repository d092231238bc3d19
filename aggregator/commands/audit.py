"""Implements `edge-fleet audit`: who did what to the fleet, and whether the log still is what was written."""

from __future__ import annotations

from datetime import UTC, datetime

from aggregator.commands.tables import print_table
from aggregator.operations import plain_audit
from aggregator.reach import Fleet
from aggregator.store.rows import AuditRow
from headway.errors import StoreError
from headway.fields import readable_json
from headway.printable import printable

HEADER, NUMBERS = ("NUMBER", "AT", "WHO", "ACT", "SUBJECT", "DETAIL"), frozenset({"NUMBER"})


def show_audit(fleet: Fleet, in_json: bool, verify: bool) -> None:
    """``edge-fleet audit``. verify: raise StoreError with the first place at which the chain does not hold."""
    wrong = fleet.audit_problems() if verify else []
    rows = fleet.audit()
    if wrong:
        more = f", and {len(wrong) - 1} more places" if len(wrong) > 1 else ""
        raise StoreError(f"the audit log was tampered with or damaged: {wrong[0]}{more}; compare it with a backup")
    if in_json:
        print(readable_json(plain_audit(rows)))
    elif verify:
        last = f", the last with sha256 {rows[-1].sha256}" if rows else ""
        print(f"the chain holds: {len(rows)} entries{last}")
    elif rows:
        lines = [_line(row) for row in rows]
        print_table(HEADER, lines, "\n".join("  ".join(line) for line in lines), NUMBERS)
    else:
        print("nobody has done anything to this fleet yet")


def _line(row: AuditRow) -> tuple[str, ...]:
    at = datetime.fromtimestamp(row.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return tuple(map(printable, (str(row.number), at, row.who, row.act, row.subject or "-", row.detail)))
