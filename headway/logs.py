"""What the programs log to stderr: one printable line a record, with priorities for the journal, and never a flood.

Under systemd each line carries the priority that journald reads (sd-daemon(3)), so that ``journalctl -p warning`` finds
what is one. A line that comes again and again is written a few times a minute; then it is counted, and the count told.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TextIO

from headway.clocks import SystemClock
from headway.errors import LocalError, StoreError, reason
from headway.printable import printable

log = logging.getLogger("headway")

MESSAGE_CHARACTERS_MAX = 500
# a disk's, also of a file to which output is redirected
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
# of syslog, by the level of logging from which on they hold
PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
SAME_A_MINUTE = 5
MINUTE_S = 60.0
LINES_REMEMBERED_MAX = 256
RECENT_LINES_MAX, RECENT_CHARACTERS_MAX = 200, 1000


def log_to_stderr(level: str, line: str, *, structured: bool = False) -> None:
    """Log to stderr from now on. line: a format of `logging`. structured: JSON lines instead, see `JsonFormatter`."""
    handler = RateLimitedHandler(sys.stderr, SystemClock().monotonic_s)
    formatter = JsonFormatter() if structured else PrintableFormatter(line)
    handler.setFormatter(JournalFormatter(formatter) if is_journal(sys.stderr, os.environ) else formatter)
    recent = RecentLines()
    recent.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler, recent])


def print_error(message: str) -> None:
    """The one line with which a program leaves, in the form in which it logs."""
    if any(isinstance(_written_by(handler), JsonFormatter) for handler in logging.getLogger().handlers):
        log.error("%s", message)
        return
    priority = "<3>" if is_journal(sys.stderr, os.environ) else ""
    print(f"{priority}error: {printable(message)}", file=sys.stderr)


def print_unexpected(error: Exception, shown_by: str = "", state: str = "") -> int:
    """One line about a fault of ours; at log level debug its traceback. Returns the exit code.

    shown_by: the option that sets that level, where the program has one. state: what is left behind, in words.
    """
    log.debug("unexpected error", exc_info=error)
    if isinstance(error, OSError) and error.errno in FULL:
        print_error(f"cannot write {error.filename or 'output'}: {reason(error)}")
        return StoreError.exit_code
    said = " ".join(str(error).split())[:MESSAGE_CHARACTERS_MAX]
    then = f"{state}; " if state else ""
    hint = f", with what {shown_by} shows" if shown_by else ""
    print_error(f"unexpected error: {type(error).__name__}: {said}; {then}please report it{hint}")
    return LocalError.exit_code


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether what is written there goes to journald: JOURNAL_STREAM holds device and inode of the service's stream,
    and every child of the service inherits it, whatever its own stderr is."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # no file behind it, as in tests
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _written_by(handler: logging.Handler) -> logging.Formatter | None:
    formatter = handler.formatter
    return formatter.inner if isinstance(formatter, JournalFormatter) else formatter


class PrintableFormatter(logging.Formatter):
    """A log line per record: what came from outside cannot forge another one. Tracebacks keep their lines."""

    def format(self, record: logging.LogRecord) -> str:
        plain = logging.makeLogRecord(record.__dict__ | {"msg": printable(record.getMessage()), "args": None})
        return super().format(plain)


class JsonFormatter(logging.Formatter):
    """A log line per record as a JSON object: ``time`` (seconds since 1970), ``level``, ``logger``, ``message`` and,
    where there is one, ``traceback``. Only ASCII, so that no text can forge a line or act on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, str | float] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


class JournalFormatter(logging.Formatter):
    """Another formatter's lines, each behind its priority."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next(found for level, found in PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in self.inner.format(record).split("\n"))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of this minute: since when, how often it came, and the record to tell the rest with."""

    began_s: float
    count: int
    record: logging.LogRecord


class RecentLines(logging.Handler):
    """Keeps the newest lines in memory, for diagnostics; one that comes again at once is kept once."""

    def __init__(self, count_max: int = RECENT_LINES_MAX) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=count_max)
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() != self._last:
            self._last = record.getMessage()
            self._lines.append(self.format(record)[:RECENT_CHARACTERS_MAX])

    @property
    def lines(self) -> list[str]:
        """The oldest first."""
        return [*self._lines]


def recent_lines() -> list[str]:
    """What this process has logged lately; nothing before `log_to_stderr`."""
    return [
        line for handler in logging.getLogger().handlers if isinstance(handler, RecentLines) for line in handler.lines
    ]


class RateLimitedHandler(logging.StreamHandler[TextIO]):
    """Writes the same line at most `SAME_A_MINUTE` times a minute; then how many times more it came.

    clock_s: monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock_s: Callable[[], float]) -> None:
        super().__init__(stream)
        self._clock_s = clock_s
        self._lines: dict[tuple[int, str], _Line] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now_s = self._clock_s()
        self._tell([key for key, line in self._lines.items() if now_s - line.began_s >= MINUTE_S])
        key = record.levelno, record.getMessage()
        before = self._lines.get(key, _Line(now_s, 0, record))
        line = self._lines[key] = replace(before, count=before.count + 1)
        if line.count <= SAME_A_MINUTE:
            super().emit(record)
        self._tell([*self._lines][: max(0, len(self._lines) - LINES_REMEMBERED_MAX)])

    def close(self) -> None:
        """What was counted and not told yet is told now."""
        self.acquire()
        try:
            self._tell([*self._lines])
        finally:
            self.release()
        super().close()

    def _tell(self, keys: list[tuple[int, str]]) -> None:
        for key in keys:
            line = self._lines.pop(key)
            more = line.count - SAME_A_MINUTE
            if more > 0:
                said = {"msg": f"{key[1]} ... {more} times more", "args": None, "exc_info": None, "exc_text": None}
                super().emit(logging.makeLogRecord(line.record.__dict__ | said))
