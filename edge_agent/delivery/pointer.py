"""The pointer of a device's slots: which bundle is active, and how its trial goes. One durable write switches.

Beside it lies a copy with a check sum, written second. A pointer that is damaged or gone does not end the device: it
goes on with what the copy says, which is at most the last write behind.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from headway.durable import checked, read_regular, unchecked, write_durably
from headway.errors import StoreError, reason
from headway.fields import Fields, canonical_json, parse_json

log = logging.getLogger("edge-agent")

FACTORY = "factory"
SLOTS = ("a", "b")
POINTER, COPY = "pointer.json", "pointer.copy"


@dataclass(frozen=True, slots=True)
class Pointer:
    """starts: of the active slot since the switch that did not end well; healthy_s: how long it has run well.

    boot, consumed: what the agent had counted when it switched, so that another store does not count them again.
    tests: self-tests of the waiting bundle that were begun; a bundle may take the whole machine down.
    rolled_back: why the last trial failed, until that has been reported.
    refused: why a bundle failed here, by the sha256 of its file; it is not tried again. spaces: feature space of each
    slot and of the bundle the device was set up with. floor: highest release that was confirmed.
    """

    active: str = FACTORY
    previous: str = FACTORY
    confirmed: bool = True
    starts: int = 0
    healthy_s: float = 0.0
    floor: int = 0
    boot: int = 0
    consumed: int = 0
    tests: int = 0
    rolled_back: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    spaces: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        return canonical_json({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def decode(cls, payload: bytes) -> Pointer:
        fields = Fields(parse_json(payload, "slots/pointer.json", StoreError), "slots/pointer.json", StoreError)
        pointer = cls(
            fields.choice("active", (FACTORY, *SLOTS)),
            fields.choice("previous", (FACTORY, *SLOTS)),
            fields.boolean("confirmed"),
            fields.integer("starts"),
            fields.number("healthy_s", low=0.0),
            fields.integer("floor"),
            fields.integer("boot"),
            fields.integer("consumed"),
            fields.integer("tests"),
            fields.text("rolled_back", length_max=300),
            {key: str(value) for key, value in fields.mapping("refused").items()},
            {key: str(value) for key, value in fields.mapping("spaces").items()},
        )
        fields.finish()
        return pointer


def read_pointer(folder: Path) -> tuple[Pointer, str]:
    """What a folder of slots points to, and what was wrong with the file that says so; nothing where nothing was.

    A file that reads well and differs from its copy is right where it is the later one: a power cut fell between both
    writes, or an agent wrote it that knew of no copy. Otherwise it was damaged after both were written.
    Raises StoreError where neither can be read, and PermissionError where the folder may not be looked into.
    """
    copy = _read_copy(folder)
    try:
        payload = read_regular(folder / POINTER)
        found = Pointer.decode(payload)
    except (FileNotFoundError, NotADirectoryError):
        if copy is None:
            return Pointer(), ""
        problem = "is missing"
    except (OSError, StoreError) as error:
        if isinstance(error, PermissionError) and not os.access(folder, os.R_OK | os.X_OK):
            raise  # whoever asks may not look into the folder: nothing is known of the file
        problem = f"is damaged ({_said(error)})"
        if copy is None:
            fix = f"delete it and {COPY}: the device then runs the bundle that bundle.path names"
            raise StoreError(f"{folder / POINTER} {problem}; {fix}") from error
    else:
        if copy is None or copy.encode() == payload or _is_later(folder):
            return found, ""
        problem = f"is damaged (it differs from {COPY})"
    return copy, f"{folder / POINTER} {problem}; {COPY} tells which bundle runs"


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Durably, and its copy after it. Raises StoreError where the pointer is not written; the copy may wait."""
    write_durably(folder / POINTER, pointer.encode())
    try:
        write_durably(folder / COPY, checked(pointer.encode()))
    except StoreError as error:
        log.warning("%s has no copy: %s", folder / POINTER, error)


def is_copied(folder: Path, pointer: Pointer) -> bool:
    """Whether the file and its copy both hold this pointer, or neither is there."""
    if not (folder / POINTER).exists() and not (folder / COPY).exists():
        return True
    try:
        return read_regular(folder / POINTER) == pointer.encode() and _read_copy(folder) == pointer
    except OSError:
        return False


def _read_copy(folder: Path) -> Pointer | None:
    try:
        return Pointer.decode(unchecked(read_regular(folder / COPY), COPY))
    except (OSError, StoreError):
        return None  # `is_copied` says so, and it is written again


def _said(error: OSError | StoreError) -> str:
    return reason(error) if isinstance(error, OSError) else str(error)


def _is_later(folder: Path) -> bool:
    return os.stat(folder / POINTER).st_mtime_ns > os.stat(folder / COPY).st_mtime_ns
