"""Gives back the memory that only starting needed, so that an agent which waits for months is small.

Starting reads most of the runtime's, NumPy's and OpenSSL's code once: relocations, registrations, self-tests. These
pages stay resident although nothing runs them again. They are clean copies of files, so the kernel gets them back, and
reads again the few that are still used when they are used (docs/adr/0059-memory-given-back.md).
"""

from __future__ import annotations

import ctypes
import gc
import logging
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

from headway.arrays import return_freed_memory, return_freed_memory_early

log = logging.getLogger("edge-agent")

MAPPINGS = Path("/proc/self/smaps")
HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ \S+ (\d+)")
# of this process alone, and not writable: the text and the constants of programs and libraries
PRIVATE_READ_ONLY = ("r--p", "r-xp")


def give_back_startup_memory() -> None:
    """Call it when everything is loaded, before threads are started that might load more.

    What is alive from now on is also spared the garbage collector's looks: it would walk through all of it for a few
    objects that came later. Again after a restart in the same process, where what is left of the run before goes.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    return_freed_memory()
    return_freed_memory_early()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        clean = list(clean_mappings(MAPPINGS.read_text()))
    except OSError as error:
        log.info("memory of starting is kept: cannot read %s: %s", MAPPINGS, error.strerror)
        return
    for start, stop in clean:
        if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED):
            log.info("memory of starting is kept: %s", os.strerror(ctypes.get_errno()))
            return


def clean_mappings(smaps: str) -> Iterator[tuple[int, int]]:
    """First address and end of what is exactly its file: mapped from one, read-only, and no page of it ever changed.

    A library's constants that were relocated when it was loaded have changed pages, and are not among them.
    """
    mapping: re.Match[str] | None = None
    for line in smaps.splitlines():
        head = HEAD.match(line)
        if head:
            mapping = head if head[3] in PRIVATE_READ_ONLY and head[4] != "0" else None
        elif mapping is not None and line.split() == ["Anonymous:", "0", "kB"]:
            yield int(mapping[1], 16), int(mapping[2], 16)
