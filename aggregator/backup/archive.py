"""The file of a backup: an uncompressed tar archive, which begins with what it holds and the digest of each file.

    backup.json            {"contents": {...}, "sha256": of the canonical JSON of contents}
    aggregator.sqlite      the store
    bundles/SHA256.hwb     bundles that are handed out
    served/SHA256.hwb      bundles that are or were served here, with whose feature spaces reports can be read
    authority/ca.key ...   the fleet's authority, only where keys were asked for

Nothing in a backup is believed before every digest was compared.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from headway.durable import write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json

MANIFEST, FORMAT = "backup.json", 1
MANIFEST_BYTES_MAX = 16 << 20
STORE, BUNDLES, SERVED, AUTHORITY = "aggregator.sqlite", "bundles", "served", "authority"
NAME = re.compile(rf"{re.escape(STORE)}|(?:{BUNDLES}|{SERVED}|{AUTHORITY})/[A-Za-z0-9_-][A-Za-z0-9._-]{{0,127}}")
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a backup. size: bytes; sha256: hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup says of itself. created_s: wall clock; fleet: '' where it was not known; schema: of its store."""

    created_s: float
    fleet: str
    headway: str
    schema: int
    files: tuple[FileEntry, ...]

    @property
    def has_keys(self) -> bool:
        """Whether the fleet's authority is in it."""
        return any(entry.name.startswith(f"{AUTHORITY}/") for entry in self.files)

    def encode(self) -> bytes:
        contents = {"format": FORMAT, **asdict(self)}
        return canonical_json({"contents": contents, "sha256": hashlib.sha256(canonical_json(contents)).hexdigest()})

    @classmethod
    def decode(cls, payload: bytes, where: str) -> Contents:
        """Raises StoreError for what is no description of a backup, or of a later format."""
        whole = parse_json(payload, where, StoreError, MANIFEST_BYTES_MAX)
        outer = Fields(whole, where, StoreError)
        digest, table = outer.text("sha256"), outer.mapping("contents")
        outer.finish()
        if hashlib.sha256(canonical_json(table)).hexdigest() != digest:
            raise StoreError(f"{where} is damaged: its digest does not fit; take another backup")
        fields = Fields(table, where, StoreError)
        version = fields.integer("format")
        if version != FORMAT:
            raise StoreError(f"{where} has format {version}; this program reads {FORMAT}, take a newer program")
        made = cls(
            fields.number("created_s"), fields.text("fleet"), fields.text("headway"), fields.integer("schema"),
            tuple(_entry(entry) for entry in fields.tables("files", count_max=100_000)),
        )  # fmt: skip
        fields.finish()
        if [entry.name for entry in made.files].count(STORE) != 1:
            raise StoreError(f"{where} names no store, or several; take another backup")
        return made


def _entry(fields: Fields) -> FileEntry:
    entry = FileEntry(fields.text("name"), fields.integer("size"), fields.text("sha256"))
    fields.finish()
    if not NAME.fullmatch(entry.name):
        raise StoreError(f"{fields.where} names a file {entry.name!r}, which no backup holds")
    return entry


def write_archive(
    target: Path, files: Mapping[str, Path], created_s: float, fleet: str, headway: str, schema: int
) -> Contents:
    """Write a backup of `files`, by their names in it; only the owner may read it. Raises StoreError.

    Nothing is under the name of `target` before all of it is on the disk.
    """
    made: list[Contents] = []

    def write(stream: BinaryIO) -> None:
        # each file is opened once: what is under its name may be replaced, what is open is not
        with ExitStack() as opened:
            handles = {name: opened.enter_context(path.open("rb")) for name, path in files.items()}
            entries = tuple(FileEntry(name, *_measured(handle)) for name, handle in handles.items())
            contents = Contents(created_s, fleet, headway, schema, entries)
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                payload = contents.encode()
                archive.addfile(_Member(MANIFEST, len(payload), created_s), io.BytesIO(payload))
                for entry in entries:
                    archive.addfile(_Member(entry.name, entry.size, created_s), handles[entry.name])
        made.append(contents)

    write_durably(target, write, 0o600)
    return made[0]


def checked_contents(file: Path) -> Contents:
    """What a backup holds, after every byte of it was compared with its digest. Raises StoreError."""
    with _opened(file) as (contents, streams):
        for entry, stream in streams:
            _check(entry, stream, None, file)
    return contents


def unpack(file: Path, targets: Mapping[str, Path], mode: int = 0o600) -> None:
    """Write files of a backup, by their names in it, to paths; durably, and none that does not fit its digest."""
    with _opened(file) as (_, streams):
        for entry, stream in streams:
            if entry.name in targets:
                write_durably(
                    targets[entry.name], lambda out, e=entry, s=stream: _check(e, s, out, file), mode  # type: ignore[misc]
                )  # fmt: skip


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Contents, Iterator[tuple[FileEntry, IO[bytes]]]]]:
    """The contents, and each file of them in order."""
    try:
        with tarfile.open(file, mode="r:") as archive:
            first = archive.next()
            stream = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
            if first is None or stream is None or first.size > MANIFEST_BYTES_MAX:
                raise StoreError(f"{file} is no backup that edge-fleet has made: it does not begin with {MANIFEST}")
            contents = Contents.decode(stream.read(), f"{MANIFEST} in {file}")
            yield contents, _files(archive, contents, file)
    except tarfile.TarError as error:
        raise StoreError(f"{file} is no backup that edge-fleet has made, or damaged: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror or error}") from error


def _files(archive: tarfile.TarFile, contents: Contents, file: Path) -> Iterator[tuple[FileEntry, IO[bytes]]]:
    for entry in contents.files:
        member = archive.next()
        stream = None if member is None or member.name != entry.name else archive.extractfile(member)
        if stream is None:
            raise StoreError(f"{file} is cut off or damaged: {entry.name} is missing; take another backup")
        yield entry, stream


def _check(entry: FileEntry, stream: IO[bytes], out: BinaryIO | None, file: Path) -> None:
    """Read a file of a backup, into `out` if given. Raises StoreError when it is not what was written."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
        if out is not None:
            out.write(piece)
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise StoreError(f"{file} is damaged: {entry.name} does not fit its digest; take another backup")


def _measured(handle: BinaryIO) -> tuple[int, str]:
    """Size and digest of an open file, which is at its beginning again afterwards."""
    digest = hashlib.sha256()
    while piece := handle.read(PIECE_BYTES):
        digest.update(piece)
    size = handle.tell()
    handle.seek(0)
    return size, digest.hexdigest()


class _Member(tarfile.TarInfo):
    """A file in the archive; owner and rights of the original tell nothing elsewhere."""

    def __init__(self, name: str, size: int, at_s: float) -> None:
        super().__init__(name)
        self.size, self.mtime, self.mode = size, int(at_s), 0o600
