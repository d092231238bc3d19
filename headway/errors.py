"""Every error Headway raises on purpose, by family.

A message is one line that carries what was wrong, the offending value and the fix. The command-line programs
print it after ``error:`` and leave with the family's ``exit_code``; anything else that escapes is a bug of ours
and leaves as LocalError would, with a line that asks to report it and, at log level debug, a traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from headway.printable import printable

NAMES_MAX, NAME_CHARACTERS_MAX = 8, 40
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended


# what helps, by what the system says of a file
FIXES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.EACCES: "give this user the right to, or use sudo",
    errno.EPERM: "give this user the right to, or use sudo",
    errno.EROFS: "the file system is mounted read-only",
    errno.ENOSPC: "free some space, or files where df -i shows none left",
}


def reason(error: OSError | UnicodeError) -> str:
    """What the system says of a file, and what helps where that can be said."""
    said = getattr(error, "strerror", None) or str(error)
    fix = FIXES.get(getattr(error, "errno", None) or 0, "")
    return f"{said}; {fix}" if fix else said


class HeadwayError(Exception):
    """Root of all deliberate errors."""

    exit_code = 1

    def __str__(self) -> str:
        """One line that can be logged and sent, whatever the names in it: those of files may be no text at all."""
        return printable(super().__str__())


class ConfigError(HeadwayError):
    """A setting or an argument is unknown, missing or out of range."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """Something is asked for by a name that nothing has."""


class ConflictError(ConfigError):
    """What is asked for is valid, but not now: something else stands in the way."""


class DataError(HeadwayError):
    """Samples or labels that a person or a sensor handed in cannot be used."""

    exit_code = 3


class ModelError(HeadwayError):
    """The source model cannot be cut, converted or proven equal."""

    exit_code = 4


class BundleError(HeadwayError):
    """The bundle is damaged, unsafe, or made for another version."""

    exit_code = 5


class RuntimeUnavailableError(HeadwayError):
    """No installed inference runtime can run the backbone."""

    exit_code = 6


class StoreError(HeadwayError):
    """The disk or the database refused, or holds something unreadable."""

    exit_code = 7


class LaterVersionError(StoreError):
    """What is saved was written by a later version of the program: only an upgrade helps, trying again does not."""

    exit_code = 10


class RemoteError(HeadwayError):
    """A peer sent bytes that do not follow the protocol (its fault, not ours)."""

    exit_code = 8


class TransportError(HeadwayError):
    """The broker cannot be reached or refused us."""

    exit_code = 9


class LocalError(HeadwayError):
    """We called ourselves wrongly: a bug in Headway or in the program that embeds it."""

    exit_code = 70


def listed(names: Iterable[str]) -> str:
    """Names from outside, sorted, for a message of one line: the first few, long ones cut short."""
    known = sorted(names)
    shown = [name if len(name) <= NAME_CHARACTERS_MAX else f"{name[:NAME_CHARACTERS_MAX]}..." for name in known]
    more = f" and {len(known) - NAMES_MAX} more" if len(known) > NAMES_MAX else ""
    return f"{shown[:NAMES_MAX]}{more}"
