"""Reads ``.npz`` archives of which no byte is trusted, in little memory: whole arrays, or rows in order.

What NumPy writes is read: members stored or deflated, each an ``.npy`` array of numbers or texts. Nothing is unpickled,
inflated beyond its declared and bounded size, or mapped into memory: a file that somebody cuts short while it is read
is a DataError, where a mapping would end the process.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import stat
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, describe
from headway.errors import DataError, HeadwayError, reason

# the longest piece that is ever asked of a file at once; so the table of an archive's members is not longer either
PIECE_BYTES = 1 << 17
HEADER_BYTES_MAX = 1024  # NumPy writes 118 bytes for arrays without fields
DIMENSIONS_MAX, DIMENSION_MAX = 16, 1 << 40
NPY = ".npy"
END_RECORD, END_BYTES, COMMENT_BYTES_MAX = b"PK\5\6", 22, 0xFFFF
ENCRYPTED = 1
READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def open_file(path: Path | str, *, links: bool = True) -> io.FileIO:
    """A regular file, opened for reading without waiting for anybody. links: whether a symbolic one may lead to it.
    Raises DataError for a file of another kind, OSError.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return io.FileIO(descriptor)
    os.close(descriptor)
    raise DataError("is no regular file")


def _opened(path: Path) -> io.FileIO:
    """`open_file`; the path begins every message. Raises DataError."""
    try:
        return open_file(path)
    except (OSError, DataError) as error:
        told = f"cannot read {path}: {reason(error)}" if isinstance(error, OSError) else f"{path} {error}"
        raise DataError(told) from error


def is_finished(file: io.FileIO) -> bool:
    """Whether a zip archive ends where the file ends. Its writers put the end there last."""
    size = file.seek(0, os.SEEK_END)
    for tail_bytes in (END_BYTES, END_BYTES + COMMENT_BYTES_MAX):
        file.seek(max(0, size - tail_bytes))
        tail = file.read(tail_bytes)
        start = tail.rfind(END_RECORD)
        end = start + END_BYTES
        if start >= 0 and end <= len(tail):
            return end + int.from_bytes(tail[end - 2 : end], "little") == len(tail)
    return False


class Archive:
    """An open archive. Close it. Everything raises DataError, in one line that begins with `where`.

    file: is closed with it, also when this raises. inflated_bytes_max: of all members together, or packed_times_max
    times the file's own length, where that is more.
    """

    def __init__(self, file: io.FileIO, where: str, inflated_bytes_max: int, packed_times_max: int = 0) -> None:
        self.where = where
        self._file = _Pieces(file)
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            with self.reading():
                self._stamp = _look(self._file)
                self._zip = zipfile.ZipFile(self._file)
                for info in self._zip.infolist():
                    name = info.filename.removesuffix(NPY)
                    if name in self._members:
                        raise DataError(f"{where} holds {name[:40]!r} twice")
                    self._members[name] = info
            inflated_bytes = sum(info.file_size for info in self._members.values())
            accepted = max(inflated_bytes_max, packed_times_max * self._stamp[0])
            if inflated_bytes > accepted:
                raise DataError(f"{where} inflates to {inflated_bytes} bytes; at most {accepted} are accepted")
        except DataError:
            self._file.close()
            raise

    @classmethod
    def open(cls, path: Path, inflated_bytes_max: int) -> Archive:
        """Of a path, which begins the messages."""
        return cls(_opened(path), str(path), inflated_bytes_max)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arrays, in the order in which they were written."""
        return tuple(self._members)

    def size_bytes(self, name: str) -> int:
        """Of one member, inflated, as it is declared; it cannot have more."""
        return self._members[name].file_size

    def stored(self, name: str) -> StoredArray:
        """An array whose rows are read when they are asked for."""
        return StoredArray(self, name)

    def array(self, name: str) -> AnyArray:
        """A whole array."""
        return self.stored(name).whole()

    def member(self, name: str) -> zipfile.ZipExtFile:
        """The bytes of one member from their beginning; its check sum is checked where they end."""
        info = self._members[name]
        if info.flag_bits & ENCRYPTED:
            raise DataError(f"{self.where}: {name} is encrypted; write it without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{self.where}: {name} is packed by method {info.compress_type}; store or deflate it")
        return self._zip.open(info)  # type: ignore[return-value]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever goes wrong in here is the file's fault."""
        with _faults_of(self.where, "a readable .npz file"):
            yield

    def check_unchanged(self) -> None:
        """Whether it is still what was opened: nobody may write to a file that is being read."""
        _check_unchanged(self._file, self._stamp, self.where)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class SingleArray:
    """An open ``.npy`` file, as an archive that holds `x` alone. file: is closed with it, also when this raises."""

    names = ("x",)

    def __init__(self, file: io.FileIO, where: str) -> None:
        self.where = where
        self._file = _Pieces(file)
        try:
            with self.reading():
                self._stamp = _look(self._file)
        except DataError:
            self._file.close()
            raise

    @classmethod
    def open(cls, path: Path) -> SingleArray:
        """Of a path, which begins the messages. Raises DataError."""
        return cls(_opened(path), str(path))

    def size_bytes(self, name: str) -> int:
        return self._stamp[0]

    def stored(self, name: str) -> StoredArray:
        """The array, whose rows are read when they are asked for."""
        return StoredArray(self, name)

    def array(self, name: str) -> AnyArray:
        """All of it."""
        return self.stored(name).whole()

    def member(self, name: str) -> io.BufferedReader:
        """Its bytes from their beginning."""
        self._file.seek(0)
        return self._file

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever goes wrong in here is the file's fault."""
        with _faults_of(self.where, "a readable .npy file"):
            yield

    def check_unchanged(self) -> None:
        _check_unchanged(self._file, self._stamp, self.where)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class StoredArray:
    """An array in an archive, its rows read in order: a slice of it is an array, as of one in memory.

    To go back is to read again from the beginning. Not thread-safe. Closing it closes the archive.
    """

    def __init__(self, archive: Archive | SingleArray, name: str) -> None:
        self._archive, self._name = archive, name
        with archive.reading():
            self._member: io.BufferedIOBase = archive.member(name)
            self.shape, self.fortran_order, self.dtype = self._header()
            self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
            self._header_bytes = self._member.tell()
            self._position = 0
            self._check_header()

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> AnyArray:
        """Rows of the array, (rows, *shape[1:]), in the machine's byte order. Raises DataError."""
        start, stop, _ = rows.indices(len(self))
        with self._archive.reading():
            self._archive.check_unchanged()
            self._go_to(start * self._row_bytes)
            taken = self._take(max(0, stop - start) * self._row_bytes)
            return self._native(taken).reshape(max(0, stop - start), *self.shape[1:])

    def whole(self) -> AnyArray:
        """All of it. Raises DataError."""
        with self._archive.reading():
            self._go_to(0)
            flat = self._native(self._take(self.nbytes))
            if flat.dtype.kind == "U":
                self._check_texts(flat)
            return flat.reshape(self.shape[::-1]).T if self.fortran_order else flat.reshape(self.shape)

    def close(self) -> None:
        """Let go of the file."""
        self._archive.close()

    def _header(self) -> tuple[tuple[int, ...], bool, np.dtype]:
        version = np.lib.format.read_magic(io.BytesIO(self._exactly(8)))
        if version not in READ_HEADER:
            raise DataError(f"{self._archive.where}: {self._name} is no array of numbers or texts")
        length = self._exactly(2 * version[0])
        header_bytes = int.from_bytes(length, "little")
        if header_bytes > HEADER_BYTES_MAX:
            raise DataError(f"{self._archive.where}: {self._name} has a header of {header_bytes} bytes")
        header = io.BytesIO(length + self._exactly(header_bytes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about the header's text, which is refused if it means nothing
            try:
                shape, fortran_order, dtype = READ_HEADER[version](header)
            except Exception as error:  # of any kind: the header is Python's text, parsed by NumPy
                where = self._archive.where
                raise DataError(f"{where} is not a readable array file: {self._name} has no header of NumPy") from error
        return shape, fortran_order, dtype

    def _check_header(self) -> None:
        where, kind = f"{self._archive.where}: {self._name}", self.dtype
        if kind.hasobject:
            raise DataError(
                f"{self._archive.where} is not a readable array file: {self._name} holds Python objects, which are not "
                "unpickled; give numbers or texts of one dtype"
            )
        if kind.kind == "V" or kind.itemsize == 0:
            raise DataError(f"{where} is {kind}; give numbers or texts")
        if len(self.shape) > DIMENSIONS_MAX or not all(0 <= size <= DIMENSION_MAX for size in self.shape):
            raise DataError(
                f"{where} has shape {str(self.shape)[:200]}; give at most {DIMENSIONS_MAX} axes, each of 0 to "
                f"{DIMENSION_MAX}"
            )
        there = self._archive.size_bytes(self._name) - self._header_bytes
        if self.nbytes != there:
            raise DataError(f"{where} is {kind} {self.shape}, of {self.nbytes} bytes, but {there} are there")

    def _go_to(self, position: int) -> None:
        if position < self._position:
            self._member = self._archive.member(self._name)
            self._exactly(self._header_bytes)
            self._position = 0
        while self._position < position:
            self._position += len(self._exactly(min(PIECE_BYTES, position - self._position)))

    def _take(self, count: int) -> AnyArray:
        """The next bytes, uint8 (count,)."""
        taken = np.empty(count, np.uint8)
        for start in range(0, count, PIECE_BYTES):
            piece = self._exactly(min(PIECE_BYTES, count - start))
            taken[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        self._position += count
        return taken

    def _exactly(self, count: int) -> bytes:
        piece = self._member.read(count)
        if len(piece) != count:
            raise EOFError(f"{self._name} ends too early")
        return piece

    def _native(self, taken: AnyArray) -> AnyArray:
        return taken.view(self.dtype).astype(self.dtype.newbyteorder("="), copy=False)

    def _check_texts(self, flat: AnyArray) -> None:
        """Refuse what is no Unicode: it could be neither printed, sent nor stored."""
        characters = flat.view(np.uint32)
        if ((characters > 0x10FFFF) | ((characters >= 0xD800) & (characters <= 0xDFFF))).any():
            raise DataError(f"{self._archive.where}: {self._name} is {describe(flat)} with characters outside Unicode")


class _Pieces(io.BufferedReader):
    """A file that gives no more than a piece at once: zipfile reads the table of members, of any length, in one go."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > PIECE_BYTES:
            raise zipfile.BadZipFile(f"its table of members has {size} bytes; at most {PIECE_BYTES} are accepted")
        return super().read(PIECE_BYTES if size is None or size < 0 else size)


@contextlib.contextmanager
def _faults_of(where: str, kind: str) -> Iterator[None]:
    try:
        yield
    except HeadwayError:
        raise
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before its beginning, which a damaged table of members names
            raise DataError(f"{where} is not {kind}: its table of members is damaged") from error
        raise DataError(f"cannot read {where}: {reason(error)}") from error
    except Exception as error:  # zipfile, zlib and the parser of headers raise whatever they like
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where} is not {kind}: {said[:120]}") from error


def _check_unchanged(file: io.BufferedReader, stamp: tuple[int, int], where: str) -> None:
    if _look(file) != stamp:
        raise DataError(f"{where} was changed while it was read; write a new file and rename it instead")


def _look(file: io.BufferedReader) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def read_arrays(path: Path, inflated_bytes_max: int) -> dict[str, AnyArray]:
    """Every array of a file. Raises DataError: not there, not readable, or larger than that once inflated."""
    archive = Archive.open(path, inflated_bytes_max)
    with contextlib.closing(archive):
        return {name: archive.array(name) for name in archive.names}
