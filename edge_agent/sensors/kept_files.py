"""Keeps a folder of files small: beyond so many files or bytes the oldest are deleted.

A look at 10,000 files takes longer than what it is for, and their names more than a megabyte. So what lies there is
counted, the names of the oldest are known, and the folder is looked at again only now and then. Others may delete files
at any time, and the clock that dates them may jump.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headway.durable import refused_by_disk

# of the files that may be kept, the share that may come before the folder is looked at again, and whose names are known
SHARE_UNSEEN = 16
# names known of a folder that somebody has filled, and files deleted at once: the watchdog waits for it
NAMES_MAX, DELETED_MAX = 50_000, 1_000


class _Kept(NamedTuple):
    """put: which of the files that were put here by this process it is, -1 for another."""

    put: int
    modified_ns: int
    name: str
    size_bytes: int


class _Oldest:
    """What is known of the oldest files, in order, in a tenth of the memory that an object for each would take."""

    def __init__(self, files: Sequence[_Kept] = ()) -> None:
        self._names = b"/".join(os.fsencode(file.name) for file in files)
        self._modified_ns = array("q", (file.modified_ns for file in files))
        self._sizes = array("q", (file.size_bytes for file in files))
        self._taken = self._begin = 0

    def __bool__(self) -> bool:
        return self._taken < len(self._sizes)

    def take(self) -> tuple[str, int, int]:
        """Name, time of modification in nanoseconds and bytes of the next one."""
        end = self._names.find(b"/", self._begin)
        name = self._names[self._begin : end if end >= 0 else None]
        at, self._begin, self._taken = self._taken, end + 1, self._taken + 1
        return os.fsdecode(name), self._modified_ns[at], self._sizes[at]


class KeptFiles:
    """The files of one folder. beside: ending of a second file that goes with each; empty: none."""

    def __init__(self, folder: Path, files_max: int, bytes_max: int | None = None, beside: str = "") -> None:
        self._folder, self._files_max, self._bytes_max, self._beside = folder, files_max, bytes_max, beside
        self._unseen_max = max(1, files_max // SHARE_UNSEEN)
        # hashes of the names that were put here, the newest last
        self._put = array("q")
        # of the last look, with what came and went since
        self._count = self._bytes = 0
        self._oldest = _Oldest()
        self._unseen: int | None = None

    def add(self, name: str, size_bytes: int, *, is_new: bool = True) -> None:
        """A file was put there. is_new: not in place of another of this name."""
        self._put.append(hash(name))
        if len(self._put) > self._files_max + self._unseen_max:
            del self._put[: self._unseen_max]
        if is_new:
            self._count, self._bytes = self._count + 1, self._bytes + size_bytes
        if self._unseen is not None:
            self._unseen += 1

    def prune(self) -> int:
        """Delete what is too much, at most 1,000 at once; returns how many files. Raises StoreError when the disk
        refuses."""
        if self._unseen is None:
            self._look()
        if not self._fits() and (self._unseen is None or self._unseen >= self._unseen_max):
            self._look()
        deleted = 0
        while not self._fits() and deleted < DELETED_MAX:
            if not self._oldest:
                self._look()
            else:
                deleted += self._delete_oldest()
        return deleted

    def _fits(self) -> bool:
        return self._count <= self._files_max and (self._bytes_max is None or self._bytes <= self._bytes_max)

    def _look(self) -> None:
        """Count what is there now, and learn the names of the oldest: of more, the more there are to delete."""
        names = min(NAMES_MAX, self._unseen_max + max(0, self._count - self._files_max))
        self._count = self._bytes = 0
        self._oldest = _Oldest(heapq.nsmallest(names, self._counted()))
        self._unseen = 0

    def _counted(self) -> Iterator[_Kept]:
        for file in self._files():
            self._count, self._bytes = self._count + 1, self._bytes + file.size_bytes
            yield file

    def _files(self) -> Iterator[_Kept]:
        hashes = np.array(self._put, np.int64)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        with refused_by_disk(f"cannot read {self._folder}"), os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or entry.is_dir(follow_symlinks=False) or self._goes_with_another(name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    place = int(np.searchsorted(ordered, hash(name), "right")) - 1
                    put = int(order[place]) if place >= 0 and ordered[place] == hash(name) else -1
                    yield _Kept(put, status.st_mtime_ns, name, status.st_size)

    def _goes_with_another(self, name: str) -> bool:
        if not self._beside or not name.endswith(self._beside):
            return False
        return os.path.lexists(self._folder / name.removesuffix(self._beside))

    def _delete_oldest(self) -> bool:
        """Whether it was there. What cannot be deleted for its own sake, a folder say, is let be."""
        name, modified_ns, size_bytes = self._oldest.take()
        path = self._folder / name
        try:
            with refused_by_disk(f"cannot delete {path}", by_name=True):
                if path.lstat().st_mtime_ns != modified_ns:
                    return False  # written again since, and one of the newest
                path.unlink()
        except OSError:
            found = False
        else:
            found = True
        self._count, self._bytes = self._count - 1, self._bytes - size_bytes
        if self._beside:
            with contextlib.suppress(OSError), refused_by_disk(f"cannot delete {path}", by_name=True):
                os.unlink(self._folder / (name + self._beside))
        return found
