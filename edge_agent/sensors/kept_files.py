"""Keeps a folder of files small: beyond so many files or bytes the oldest are deleted.

What lies there is looked at once, and again only now and then: a look at 10,000 files takes longer than what it is for.
Others may delete files at any time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from headway.durable import refused_by_disk

# of the files that may be kept, the share that may come before the folder is looked at again
SHARE_UNSEEN = 16


class KeptFiles:
    """The files of one folder, oldest first. beside: ending of a second file that goes with each; empty: none."""

    def __init__(self, folder: Path, files_max: int, bytes_max: int | None = None, beside: str = "") -> None:
        self._folder, self._files_max, self._bytes_max, self._beside = folder, files_max, bytes_max, beside
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._unseen: int | None = None

    def add(self, name: str, size_bytes: int) -> None:
        """A file was put there, maybe in place of another of this name."""
        self._forget(name)
        self._sizes[name] = size_bytes
        self._bytes += size_bytes
        if self._unseen is not None:
            self._unseen += 1

    def prune(self) -> int:
        """Delete what is too much; returns how many files. Raises StoreError when the disk refuses."""
        if self._unseen is None:
            self._look()
        if self._fits():
            return 0
        if self._unseen is None or self._unseen >= self._files_max // SHARE_UNSEEN:
            self._look()
        deleted = 0
        while not self._fits():
            name = next(iter(self._sizes))
            self._forget(name)
            deleted += self._delete(name)
            if self._beside:
                self._delete(name + self._beside)
        return deleted

    def _fits(self) -> bool:
        return len(self._sizes) <= self._files_max and (self._bytes_max is None or self._bytes <= self._bytes_max)

    def _look(self) -> None:
        """Forget what others have deleted, and learn what is new here."""
        found: list[tuple[int, str, int]] = []
        there: set[str] = set()
        with refused_by_disk(f"cannot read {self._folder}"), os.scandir(self._folder) as entries:
            for entry in entries:
                there.add(entry.name)
                if entry.name in self._sizes or entry.name.startswith("."):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if not entry.is_dir(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime_ns, entry.name, status.st_size))
        for name in self._sizes.keys() - there:
            self._forget(name)
        earlier, new = (
            self._sizes,
            {
                name: size_bytes
                for _, name, size_bytes in sorted(found)
                if not (self._beside and name.endswith(self._beside) and name.removesuffix(self._beside) in there)
            },
        )
        self._bytes += sum(new.values())
        self._sizes = new | earlier if self._unseen is None else earlier | new
        self._unseen = 0

    def _forget(self, name: str) -> None:
        self._bytes -= self._sizes.pop(name, 0)

    def _delete(self, name: str) -> bool:
        """Whether it was there. What cannot be deleted for its own sake, a folder say, is let be."""
        try:
            with refused_by_disk(f"cannot delete {self._folder / name}", by_name=True):
                os.unlink(self._folder / name)
        except OSError:
            return False
        return True
