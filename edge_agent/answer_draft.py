"""Keeps the answer to a large file, part by part, until it is whole; and writes answers as ``.npz``.

    one part a slice of the file: append, fsync -> the commit that learns the slice -> ... -> all parts as one answer

A part that was appended, but whose commit never came, lies behind the rows that are learned, and goes when the file is
taken up again. So the parts kept are those that were served before their labels were learned, whatever was killed when.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import numpy as np

from edge_agent.effects import Answer
from headway.arrays import AnyArray
from headway.durable import sync_folder
from headway.errors import StoreError
from headway.maths import Task
from headway.tensors import decode_tensors, encode_tensors

# before each part: the file's sequence number, the part's first row and rows; its bytes and their CRC-32
PREFIX = Struct("<QQQII")
PART_BYTES_MAX = 1 << 30
IDS_A_BLOCK = 4096


class AnswerDraft:
    """The parts of one file's answer, in `path`; in memory, and gone with the process, where that is None."""

    def __init__(self, path: Path | None, task: Task) -> None:
        self._path, self._task = path, task
        self._sequence = self._rows = 0
        self._end = 0
        self._in_memory: list[bytes] = []
        self._unwritten: list[tuple[int, bytes]] = []

    def resume(self, sequence: int, rows: int) -> int:
        """Take up the answer to file `sequence`, of which `rows` rows are learned. Returns how many of them it holds.

        That is fewer only where the parts were lost.
        """
        if self._sequence != sequence:
            self._sequence, self._rows, self._end, self._in_memory, self._unwritten = sequence, 0, 0, [], []
            for start, count, payload in self._stored():
                if start != self._rows or start + count > rows:
                    break
                self._rows, self._end = start + count, self._end + PREFIX.size + len(payload)
        return self._rows

    def append(self, sequence: int, row: int, part: Answer) -> None:
        """Keep the answer to the rows from `row` on, durably. Raises StoreError; `flush` then tries again."""
        if self._sequence != sequence:
            self._sequence, self._end, self._in_memory, self._unwritten = sequence, 0, [], []
        payload = _encoded(part)
        prefix = PREFIX.pack(sequence, row, len(part), len(payload), zlib.crc32(payload))
        self._rows = row + len(part)
        if self._path is None:
            self._in_memory.append(payload)
            return
        self._unwritten.append((self._end, prefix + payload))
        self._end += len(prefix) + len(payload)
        self.flush()

    def flush(self) -> None:
        """Write what the disk refused. Raises StoreError."""
        if self._path is None:
            return
        try:
            while self._unwritten:
                new = not self._path.exists()
                start, entry = self._unwritten[0]
                with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as file:
                    file.truncate(start)
                    file.seek(start)
                    file.write(entry)
                    file.flush()
                    os.fsync(file.fileno())
                if new:
                    sync_folder(self._path.parent)
                self._unwritten.pop(0)
        except OSError as error:
            raise StoreError(f"cannot write {self._path}: {error.strerror or error}") from error

    def parts(self) -> Iterator[Answer]:
        """In the order of rows. Raises StoreError."""
        for payload in self._in_memory:
            yield _decoded(payload, self._task)
        read = 0
        for _, _, payload in self._stored():
            read += PREFIX.size + len(payload)
            if read > self._end:
                return
            yield _decoded(payload, self._task)

    def clear_of(self, sequence: int) -> None:
        """The answer to this file is given, if it came in parts."""
        if self._sequence == sequence:
            self.clear()

    def clear(self) -> None:
        """Forget all parts. Raises StoreError."""
        self._sequence, self._rows, self._end, self._in_memory = 0, 0, 0, []
        if self._path is not None and self._path.exists():  # a disk that is read-only refuses even to remove nothing
            try:
                self._path.unlink()
            except OSError as error:
                raise StoreError(f"cannot remove {self._path}: {error.strerror or error}") from error

    def _stored(self) -> Iterator[tuple[int, int, bytes]]:
        """First row, rows and bytes of each part of this file, up to the first that is damaged or of another one."""
        if self._path is None or not self._path.exists():
            return
        try:
            with self._path.open("rb") as file:
                while len(prefix := file.read(PREFIX.size)) == PREFIX.size:
                    sequence, start, count, size, check = PREFIX.unpack(prefix)
                    if sequence != self._sequence or size > PART_BYTES_MAX:
                        return
                    payload = file.read(size)
                    if len(payload) != size or zlib.crc32(payload) != check:
                        return
                    yield start, count, payload
        except OSError as error:
            raise StoreError(f"cannot read {self._path}: {error.strerror or error}") from error


def write_answer(
    stream: BinaryIO,
    parts: Callable[[], Iterable[Answer]],
    more: Mapping[str, AnyArray] | None = None,
    ids: Sequence[str] | None = None,
) -> None:
    """Write parts as one ``.npz``, to the byte as if they had been one answer; only one part is in memory at a time.

    Arrays: source (the old name of served_by, for one release), prediction, probability, served_by, then `more`; and
    id, where `ids` are given: of windows that whoever wrote them has no names for.
    """
    rows = columns = width = 0
    for part in parts():
        rows += len(part)
        columns = max(columns, part.probability.shape[1])
        width = max(width, part.served_by.dtype.itemsize)
    names = np.dtype(f"<U{max(1, width // np.dtype('<U1').itemsize)}")
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("source", "prediction", "probability", "served_by"):
            arrays = (_column(part, name, columns, names) for part in parts())
            _write_array(archive, name, rows, arrays)
        for name, array in (more or {}).items():
            _write_array(archive, name, len(array), iter([array]))
        if ids is not None:
            _write_array(archive, "id", len(ids), _texts(ids))


def _texts(ids: Sequence[str]) -> Iterator[AnyArray]:
    """In blocks of one dtype."""
    blocks = [slice(start, start + IDS_A_BLOCK) for start in range(0, len(ids), IDS_A_BLOCK)]
    width = max((len(each) for block in blocks for each in ids[block]), default=1)
    for block in blocks:
        yield np.array(ids[block], dtype=f"<U{max(1, width)}")


def _column(part: Answer, name: str, columns: int, names: np.dtype[np.str_]) -> AnyArray:
    """One array of a part, as wide as in the whole answer: classes that came later had no probability before."""
    if name in ("source", "served_by"):
        return part.served_by.astype(names)
    array: AnyArray = getattr(part, name)
    return array if array.ndim == 1 else np.pad(array, ((0, 0), (0, columns - array.shape[1])))


def _write_array(archive: zipfile.ZipFile, name: str, rows: int, parts: Iterator[AnyArray]) -> None:
    """One member, as ``numpy.savez`` writes it."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        for place, part in enumerate(parts):
            if place == 0:
                header = np.lib.format.header_data_from_array_1_0(part) | {"shape": (rows, *part.shape[1:])}
                header["fortran_order"] = False
                np.lib.format.write_array_header_1_0(member, header)
            member.write(np.ascontiguousarray(part).tobytes())


def _encoded(part: Answer) -> bytes:
    heads = sorted(set(part.served_by.tolist()))
    places = {head: place for place, head in enumerate(heads)}
    served_by = np.array([places[head] for head in part.served_by.tolist()], np.uint8)
    return encode_tensors({"probability": part.probability, "served_by": served_by}, {"heads": heads})


def _decoded(payload: bytes, task: Task) -> Answer:
    tensors, meta = decode_tensors(payload, "part of an answer", StoreError, PART_BYTES_MAX)
    heads = np.array(meta["heads"] if isinstance(meta, dict) else [])
    return Answer.from_outputs(tensors["probability"], heads[tensors["served_by"]], task)
