"""What was promised before power cuts, against what is on the device's disk after them."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the guest reports of its own disk (`testbed.guest`). code: with which the agent ended.

    labels: learned ones, and those that wait in the database because the machine had no time to learn between files.
    sound: SQLite's integrity check of each database; answered: numbers of the files whose answer is whole.
    """

    code: int
    sound: tuple[str, ...]
    answered: frozenset[int]
    rejected: tuple[str, ...]
    labels: int
    set_aside: tuple[str, ...]
    last_recovery: str | None

    @classmethod
    def parse(cls, text: str) -> OnDisk:
        found = json.loads(text)
        return cls(
            found["code"],
            tuple(found["sound"]),
            frozenset(numbers(found["answered"])),
            tuple(found["rejected"]),
            found["labels"] + found["waiting_labels"],
            tuple(found["databases_set_aside"]),
            found["last_recovery"] and str(found["last_recovery"]),
        )


def numbers(ranges: str) -> set[int]:
    """Of "1-5,7-7"."""
    pairs = [re.fullmatch(r"(\d+)-(\d+)", part) for part in ranges.split(",") if part]
    return {number for pair in pairs if pair for number in range(int(pair[1]), int(pair[2]) + 1)}


def broken(disk: OnDisk, promised: Set[int], windows: int) -> dict[str, str]:
    """The promises that the disk breaks, by what they are about: agent, database, answers, files, labels.

    promised: numbers of the files that were answered; windows: labelled ones in each file.
    """
    found = {}
    if disk.code != 0:
        found["agent"] = f"the agent ended with code {disk.code}"
    if disk.sound != ("ok",) or disk.set_aside:
        found["database"] = f"the database is {', '.join(disk.sound)}; set aside: {', '.join(disk.set_aside) or 'none'}"
        found["database"] += f"; {disk.last_recovery}" if disk.last_recovery else ""
    if gone := promised - disk.answered:
        found["answers"] = f"the answers to {len(gone)} files are gone or torn: {sorted(gone)[:20]}"
    if disk.rejected:
        found["files"] = f"refused: {', '.join(disk.rejected[:10])}"
    expected = windows * len(promised | disk.answered)
    if disk.labels < expected:
        found["labels"] = f"{expected - disk.labels} of {expected} labels are gone"
    if disk.labels > expected:
        found["labels"] = f"{disk.labels - expected} labels are counted twice, beside {expected}"
    return found
