"""Looks for files in the spool folder, and tells which of them are finished.

A finished archive whose name ends in ``.npz`` is taken at once, and so are whole arrays and sounds. Everything else
waits until it has not changed for a while: another name may be about to be renamed, an archive that does not end is
still being written, and of lines nobody knows which is the last.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.sensors.formats import is_whole
from headway.durable import refused_by_disk
from headway.errors import DataError
from headway.npz import open_file
from headway.ports import Clock

# of one look, the oldest
FILES_MAX = 10_000
WITH_AN_END = (".npz", ".npy", ".wav")


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """Something in the folder, ordered by time of modification, then by name. Not followed when it is a link.

    changed_ns: when it got its name here, or was changed since.
    """

    modified_ns: int
    name: str
    size_bytes: int
    is_file: bool
    changed_ns: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class _Seen:
    file: Waiting
    since_s: float


class Inbox:
    """What waits in a folder. settle_s: how long it must not have changed, where it is not surely finished."""

    def __init__(self, folder: Path, settle_s: float, clock: Clock) -> None:
        self._folder, self._settle_s, self._clock = folder, settle_s, clock
        self._unsettled: dict[str, _Seen] = {}
        self._looked = False
        self.folders: frozenset[str] = frozenset()

    @property
    def unsettled(self) -> int:
        """Files that are not taken yet, because they may still be written."""
        return len(self._unsettled)

    def look(self) -> list[Waiting]:
        """What is there, oldest first; `folders` are the folders among it. Raises StoreError."""
        folders: set[str] = set()
        with refused_by_disk(f"cannot read {self._folder}"), os.scandir(self._folder) as entries:
            found = heapq.nsmallest(FILES_MAX, self._files(entries, folders))
        self.folders = frozenset(folders)
        there = {file.name for file in found}
        self._unsettled = {name: seen for name, seen in self._unsettled.items() if name in there}
        return found

    def ready(self) -> Iterator[Waiting]:
        """What may be taken, oldest first; each is looked at when its turn comes."""
        files, first = self.look(), not self._looked
        self._looked = True
        for file in files:
            if not file.is_file or self._is_finished(file) or self._is_settled(file, first):
                self._unsettled.pop(file.name, None)
                yield file

    @staticmethod
    def _files(entries: Iterator[os.DirEntry[str]], folders: set[str]) -> Iterator[Waiting]:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it is gone since
            if not stat.S_ISDIR(found.st_mode):
                is_file = stat.S_ISREG(found.st_mode)
                yield Waiting(found.st_mtime_ns, entry.name, found.st_size, is_file, found.st_ctime_ns)
            elif len(folders) < FILES_MAX:
                folders.add(entry.name)

    def _is_finished(self, file: Waiting) -> bool:
        seen = self._unsettled.get(file.name)
        if not file.name.lower().endswith(WITH_AN_END) or (seen is not None and seen.file == file):
            return False
        try:
            with open_file(self._folder / file.name, links=False) as opened:
                return is_whole(opened, file.name)
        except (OSError, DataError):
            return False  # gone, or not ours to read: if it stays so, it is taken, and refused with the reason

    def _is_settled(self, file: Waiting, first: bool) -> bool:
        """By the clock that never jumps; only what lay there before the first look goes by its date."""
        now_s = self._clock.monotonic_s()
        seen = self._unsettled.get(file.name)
        if seen is None or seen.file != file:
            self._unsettled[file.name] = _Seen(file, now_s)
            age_s = self._clock.wall_s() - file.modified_ns / 1e9 if first else 0.0
            return age_s >= self._settle_s
        return now_s - seen.since_s >= self._settle_s
