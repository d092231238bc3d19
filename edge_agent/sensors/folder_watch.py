"""Wakes the agent when a file is put into the spool folder, so that its answer does not wait for the next look.

The kernel tells (inotify, by ctypes: the standard library has no binding). It only brings the next look forward:
looking at intervals goes on, because a folder on a network tells nothing of other machines, a limit of the system may
refuse the watch, and a file that is not finished must be looked at again.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger("edge-agent")

# <sys/inotify.h>
IN_CLOSE_WRITE, IN_MOVED_TO = 0x8, 0x80
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IN_ONLYDIR = 0x1000000
WATCHED = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
NEWS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_Q_OVERFLOW
GONE = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED
HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name
READ_BYTES = 16 * 1024
# what is told within this time is told at once: a writer of many files must not make us look for each of them
TOGETHER_MS = 5


class FolderWatch:
    """Calls `changed` soon after a finished file appeared in `folder`; from a thread of its own, so it must be quick.

    `refresh` begins, and begins again after the folder was replaced. Files whose name starts with a dot wake nobody.
    """

    def __init__(self, folder: Path, changed: Callable[[], object]) -> None:
        self._folder, self._changed = folder, changed
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watch = -1
        self._refused = False
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._inotify < 0:
            self._report(ctypes.get_errno())
            return
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="folder-watch", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Watch the folder if it is not watched; where that cannot be, looking at intervals has to do."""
        if self._inotify < 0 or self._watch >= 0:
            return
        watch = self._libc.inotify_add_watch(self._inotify, os.fsencode(self._folder), WATCHED)
        if watch < 0:
            self._report(ctypes.get_errno())
        self._watch = watch

    def close(self) -> None:
        """Stop; `changed` is not called any more."""
        if self._inotify < 0:
            return
        os.close(self._end)
        self._thread.join()
        os.close(self._ended)
        os.close(self._inotify)
        self._inotify = -1

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._ended)
        poller.register(self._inotify, select.POLLIN)
        pause = select.poll()
        pause.register(self._ended)
        while self._ended not in (ready for ready, _ in poller.poll()):
            if self._read():
                self._changed()
            if pause.poll(TOGETHER_MS):
                return

    def _read(self) -> bool:
        """Whether what the kernel has told since the last call is a reason to look."""
        told = False
        for watch, mask, name in _events(os.read(self._inotify, READ_BYTES)):
            if mask & GONE and watch == self._watch:
                self._forget()
            appeared = mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF) and not name.startswith(
                b"."
            )
            told = told or bool(appeared or mask & IN_Q_OVERFLOW)
        return told

    def _forget(self) -> None:
        """The folder is another one now: let go of the old, and have the new one watched by the next `refresh`."""
        self._libc.inotify_rm_watch(self._inotify, self._watch)
        self._watch = -1

    def _report(self, code: int) -> None:
        if not self._refused:
            at_limit = code in (errno.ENOSPC, errno.EMFILE)
            problem = "the system's limit of watches is reached (fs.inotify)" if at_limit else os.strerror(code)
            log.info("%s cannot be watched: %s; files are found at each poll", self._folder, problem)
        self._refused = True


def _events(told: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Watch, mask and name of each event; the name is empty for the folder itself."""
    at = 0
    while at < len(told):
        watch, mask, _, length = HEAD.unpack_from(told, at)
        at += HEAD.size
        yield watch, mask, told[at : at + length].rstrip(b"\0")
        at += length
