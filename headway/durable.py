"""Writes files so that a power cut leaves either the old bytes or the new ones, never a mixture.

The four steps (write a temporary file in the same folder, fsync it, rename it over the target, fsync the folder)
are each needed: without the folder's fsync a rename that was reported done can vanish with the power.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from headway.errors import StoreError, reason

CHECK_BYTES = 4
# what to write: the bytes, or who writes them into a stream, where they are too many for memory
Content = bytes | Callable[[BinaryIO], None]


def write_durably(path: Path, payload: Content, mode: int = 0o644, *, folder_later: bool = False) -> None:
    """Replace the content of `path` atomically and durably.

    folder_later: the caller calls `sync_folder` once for several files; only then are they durable.

    Raises StoreError when the disk is full, read-only or gone; the old file is then untouched.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if isinstance(payload, bytes):
                file.write(payload)
            else:
                payload(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        if not folder_later:
            sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {reason(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def content_bytes(payload: Content) -> bytes:
    """All of it in memory."""
    if isinstance(payload, bytes):
        return payload
    stream = io.BytesIO()
    payload(stream)
    return stream.getvalue()


def read_regular(path: Path) -> bytes:
    """The content of a file. A FIFO or a device is refused: reading it may never end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checked(body: bytes) -> bytes:
    """`body` behind a CRC-32, by which `unchecked` tells a damaged one from a good one."""
    return zlib.crc32(body).to_bytes(CHECK_BYTES, "little") + body


def unchecked(payload: bytes, where: str) -> bytes:
    """Inverse of `checked`. Raises StoreError that names `where`."""
    check, body = payload[:CHECK_BYTES], payload[CHECK_BYTES:]
    if zlib.crc32(body).to_bytes(CHECK_BYTES, "little") != check:
        raise StoreError(f"{where} is damaged: its check sum does not fit")
    return body


def unchecked_tensors(payload: bytes, where: str) -> bytes:
    """`unchecked`, of encoded tensors, which earlier versions wrote without a sum: those begin with the length of their
    header, eight bytes of which the upper six are zero."""
    return payload if payload[2:8] == bytes(6) else unchecked(payload, where)


# of one name, not of the disk: the same would go well with another name
NAME_ERRNOS = frozenset(
    {errno.ENOENT, errno.EPERM, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR,
     errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.EBUSY, errno.ETXTBSY, errno.EXDEV}
)  # fmt: skip


@contextlib.contextmanager
def refused_by_disk(what: str, *, by_name: bool = False) -> Iterator[None]:
    """StoreError, that `what` could not be done. by_name: an OSError that is only about one name passes as it is."""
    try:
        yield
    except OSError as error:
        if by_name and error.errno in NAME_ERRNOS:
            raise
        raise StoreError(f"{what}: {reason(error)}") from error
