"""Implements ``edge-fleet forget`` and ``removals``: what is taken out, and the records of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aggregator.commands.devices import REMOVAL_POLL_S, REMOVAL_TIMEOUT_S, removal_done, words_of_removal
from aggregator.commands.done import say, wants_json
from aggregator.commands.moments import moment
from aggregator.commands.tables import print_json_rows
from aggregator.durations import moment_s
from aggregator.operations import FORGET_CLASS
from aggregator.removals import RemovalRecord, record_problems, records_in, write_records
from aggregator.store.rows import RemovalRow
from headway.bundle import read_public_keys
from headway.errors import ConfigError, StoreError
from headway.ports import Clock

if TYPE_CHECKING:
    from aggregator.reach import Fleet


def forget(name: str, since: str, class_name: str, expires: str, fleet: Fleet, clock: Clock) -> None:
    """``edge-fleet forget``: all of a device, what it reported since a moment, or labels of a class.

    Raises ConfigError.
    """
    if since and class_name:
        raise ConfigError("give --since or --class, not both")
    if class_name:
        row = fleet.command(name, FORGET_CLASS, {"class": class_name}, expires)
        say(
            f"asked {name} to forget {class_name} (command {row['number']}): edge-fleet commands {name}\n"
            "its answer says how many labels it has taken out, and how many it cannot take out any more",
            device=name, command=row["number"],
        )  # fmt: skip
    elif since:
        _forget_since(name, moment_s(since), fleet, clock)
    else:
        before = len(fleet.removals())
        removed = removal_done(name, fleet, clock)
        records = _records_of(name, fleet.removals()[before:])
        words = "\n".join([words_of_removal(name, removed), *_lines(records)])
        say(words, device=name, removed=removed, records=_plain(records))


def _forget_since(name: str, since_s: float, fleet: Fleet, clock: Clock) -> None:
    before = len(fleet.removals())
    fleet.forget(name, since_s)
    deadline_s = clock.monotonic_s() + REMOVAL_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        if fleet.is_forgotten(name):
            records = _records_of(name, fleet.removals()[before:])
            words = "\n".join(_lines(records)) or f"{name} had reported nothing since {moment(since_s)}"
            say(words, device=name, since_s=since_s, forgotten=True, records=_plain(records))
            return
        time.sleep(REMOVAL_POLL_S)
    words = f"noted: what {name} reported since {moment(since_s)} is forgotten when the aggregator runs"
    say(words, device=name, since_s=since_s, forgotten=False, records=[])


def show_removals(fleet: Fleet, folder: Path | None) -> None:
    """``edge-fleet removals``: every record, or all of them as files."""
    rows = fleet.removals()
    if folder is not None:
        written = write_records(folder, rows)
        say(f"{written} records written to {folder}; {len(rows)} in all", written=written, records=len(rows))
    elif wants_json():
        print_json_rows(_plain(rows))
    else:
        print("\n".join(_lines(rows)) or "nothing was taken out of this fleet on request")


def verify_records(folder: Path, keys: Path | None) -> None:
    """``edge-fleet verify --removals``: whether records are whole, in order and signed. Raises StoreError."""
    rows = records_in(folder)
    if not rows:
        raise StoreError(f"{folder} holds no record; edge-fleet removals --export {folder} writes them")
    found = record_problems(rows, () if keys is None else read_public_keys(keys))
    if found:
        raise StoreError(f"{found[0]}{f', and {len(found) - 1} more' if len(found) > 1 else ''}; compare with a copy")
    signed = "signatures were not looked at: give --keys" if keys is None else f"signed by a key in {keys}"
    say(f"{len(rows)} records are whole and follow each other; {signed}", records=len(rows), signed=keys is not None)


def _records_of(device: str, rows: Sequence[RemovalRow]) -> list[RemovalRow]:
    """Others may be taken out at the same time."""
    return [row for row in rows if RemovalRecord.decode(row.record, f"removal {row.number}").device == device]


def _plain(rows: Sequence[RemovalRow]) -> list[Any]:
    """For programs."""
    told = [asdict(RemovalRecord.decode(row.record, f"removal {row.number}")) for row in rows]
    return [{**record, "signed": bool(row.signature)} for record, row in zip(told, rows, strict=True)]


def _lines(rows: Sequence[RemovalRow]) -> Iterator[str]:
    """For people."""
    for row in rows:
        record = RemovalRecord.decode(row.record, f"removal {row.number}")
        signed = "signed" if row.signature else "not signed: set publish.signing_key"
        since = f" since {moment(record.since_s)}" if record.since_s else ""
        yield f"removal {record.number} of {moment(record.at_s)}: {record.device}{since}, {signed}"
        for epoch in record.epochs:
            if not epoch.space:
                yield f"  epoch {epoch.epoch}: updates that waited for a round, and no more of it is taken"
                continue
            mark = f"back to its mark of {moment(epoch.mark_s)}" if epoch.kept_counter else "all of it"
            yield f"  epoch {epoch.epoch}: {epoch.samples - epoch.kept_samples} samples, {mark}"
        if record.averaged:
            yield "  its gradient updates may be in averaged heads, from which nothing can be taken out"
        if record.not_renewed:
            yield f"  started from a prior and cannot be asked to renew it: {', '.join(record.not_renewed)}"
