"""The bundle container, format 1: one file, a manifest that names and hashes every member, nothing else.

    0   8 bytes  magic 89 48 57 42 0D 0A 1A 0A
    8   u16 LE   format version, 1
    10  u16 LE   signature length, 0 or 64
    12  u32 LE   manifest length
    16           manifest, canonical JSON; then the signature; then each member in manifest order.
                 Every member starts at the next multiple of 64; the gaps are zero.

Nothing is compressed and offsets follow from sizes, so there are no bombs, no overlaps and no paths to escape by.
The normative text is docs/bundle-format.md.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headway.durable import write_durably
from headway.errors import BundleError, LocalError, reason
from headway.fields import Fields, JsonValue, canonical_json, parse_json

MAGIC = b"\x89HWB\r\n\x1a\n"
FORMAT_VERSION = 1
SIGNATURE_BYTES = 64
ALIGNMENT = 64
HEADER = struct.Struct("<8sHHI")
# where the manifest's own hash stands: in a table that readers of every release carry and show
REPORT, MANIFEST_SHA256 = "report", "manifest_sha256"
MEMBER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*(/[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*)?")


@dataclass(frozen=True, slots=True)
class BundleLimits:
    """What a reader accepts before it allocates anything."""

    manifest_bytes_max: int = 1 << 20
    member_count_max: int = 64
    member_bytes_max: int = 256 << 20
    total_bytes_max: int = 512 << 20


DEFAULT_LIMITS = BundleLimits()


@dataclass(frozen=True, slots=True)
class Container:
    """A verified file: the manifest's JSON (its ``members`` list included), the members, the signature if any."""

    manifest: Mapping[str, object]
    members: Mapping[str, bytes]
    manifest_bytes: bytes
    signature: bytes | None

    @property
    def sha256(self) -> str:
        """Identity of the bundle: the hash of its manifest, which holds the hash of everything else."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()


def encode_container(
    manifest: Mapping[str, object], members: Mapping[str, bytes], signature: bytes | None = None
) -> bytes:
    """Lay out a bundle. `manifest` must not hold ``members``; that list is made here, sorted by name."""
    manifest_bytes = manifest_with_members(manifest, members)
    if signature is not None and len(signature) != SIGNATURE_BYTES:
        raise LocalError(f"a signature has {SIGNATURE_BYTES} bytes, got {len(signature)}")
    out = bytearray(HEADER.pack(MAGIC, FORMAT_VERSION, len(signature or b""), len(manifest_bytes)))
    out += manifest_bytes + (signature or b"")
    for name in sorted(members):
        out += bytes(-len(out) % ALIGNMENT) + members[name]
    return bytes(out)


def manifest_with_members(manifest: Mapping[str, object], members: Mapping[str, bytes]) -> bytes:
    """The manifest's bytes, which are also what gets signed. One with a table `report` gets its own hash there."""
    if "members" in manifest:
        raise LocalError("the members list is made from the members; leave it out of the manifest")
    for name in members:
        if not MEMBER_NAME.fullmatch(name):
            raise LocalError(f"member name {name!r} is not allowed")
    listed = [
        {"name": name, "size": len(members[name]), "sha256": hashlib.sha256(members[name]).hexdigest()}
        for name in sorted(members)
    ]
    whole: dict[str, object] = {**manifest, "members": listed}
    report = whole.get(REPORT)
    if isinstance(report, Mapping):
        whole[REPORT] = {**report, MANIFEST_SHA256: _sha256_of(whole, report)}
    return canonical_json(whole)


def without_hash(report: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the table `report` of a manifest says beside the manifest's hash."""
    return {key: value for key, value in report.items() if key != MANIFEST_SHA256}


def _sha256_of(manifest: Mapping[str, object], report: Mapping[str, JsonValue]) -> str:
    """The hash of a manifest as it is without that hash."""
    return hashlib.sha256(canonical_json({**manifest, REPORT: without_hash(report)})).hexdigest()


def write_container(
    path: Path, manifest: Mapping[str, object], members: Mapping[str, bytes], signature: bytes | None = None
) -> None:
    """Write a bundle durably; `path` holds either the whole new file or what it held before."""
    write_durably(path, encode_container(manifest, members, signature))


def read_container(path: Path, limits: BundleLimits = DEFAULT_LIMITS) -> Container:
    """Read and verify a bundle file. Raises BundleError, one line, naming the file."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"cannot read bundle {path}: it is not a regular file")
        if found.st_size > limits.total_bytes_max:
            raise BundleError(f"{path}: {found.st_size} bytes; a bundle has at most {limits.total_bytes_max}")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read bundle {path}: {reason(error)}") from error
    try:
        return decode_container(data, limits)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def decode_container(data: bytes, limits: BundleLimits = DEFAULT_LIMITS) -> Container:
    """Parse and verify the bytes of a bundle: layout, limits, names, and the sha256 of every member."""
    if len(data) < HEADER.size or data[:8] != MAGIC:
        hint = "it is a zip archive" if data[:2] == b"PK" else f"it starts with {data[:8].hex() or 'nothing'}"
        raise BundleError(f"not a Headway bundle: {hint}")
    _, version, signature_length, manifest_length = HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise BundleError(f"bundle format {version} is unknown; this program reads {FORMAT_VERSION}: upgrade it")
    if signature_length not in (0, SIGNATURE_BYTES):
        raise BundleError(f"signature length {signature_length} is not 0 or {SIGNATURE_BYTES}")
    if not 2 <= manifest_length <= limits.manifest_bytes_max:
        raise BundleError(f"manifest length {manifest_length} is outside 2..{limits.manifest_bytes_max}")
    offset = HEADER.size + manifest_length + signature_length
    if offset > len(data):
        raise BundleError(f"truncated: {len(data)} bytes, the manifest alone needs {offset}")
    manifest_bytes = data[HEADER.size : HEADER.size + manifest_length]
    signature = data[HEADER.size + manifest_length : offset] or None
    manifest = parse_json(manifest_bytes, "manifest", BundleError, limits.manifest_bytes_max)
    if not isinstance(manifest, dict) or canonical_json(manifest) != manifest_bytes:
        raise BundleError("manifest is not canonical JSON; the bundle was edited by hand")
    report = manifest.get(REPORT)
    if isinstance(report, dict) and report.get(MANIFEST_SHA256, whole := _sha256_of(manifest, report)) != whole:
        raise BundleError(f"manifest does not match its {MANIFEST_SHA256}: the file is damaged or was altered")
    members: dict[str, bytes] = {}
    for name, size, sha256 in _listed_members(manifest, limits):
        start = offset + -offset % ALIGNMENT
        if start + size > len(data):
            raise BundleError(f"truncated: member {name} ends at byte {start + size}, the file at {len(data)}")
        if data[offset:start].strip(b"\0"):
            raise BundleError(f"bytes before member {name} are not zero")
        members[name] = data[start : start + size]
        if hashlib.sha256(members[name]).hexdigest() != sha256:
            raise BundleError(f"member {name} does not match its sha256: the file is damaged or was altered")
        offset = start + size
    if offset != len(data):
        raise BundleError(f"{len(data) - offset} bytes after the last member")
    return Container(manifest, members, manifest_bytes, signature)


def _listed_members(manifest: dict[str, object], limits: BundleLimits) -> list[tuple[str, int, str]]:
    if "members" not in manifest:
        raise BundleError("the manifest lists no members")
    fields = Fields({"members": manifest.get("members")}, "manifest", BundleError)
    listed: list[tuple[str, int, str]] = []
    for item in fields.tables("members", count_max=limits.member_count_max):
        name = item.text("name", length_max=128)
        size = item.integer("size", high=limits.member_bytes_max)
        sha256 = item.text("sha256", length_max=64)
        item.finish()
        if not MEMBER_NAME.fullmatch(name):
            raise BundleError(f"member name {name!r} is not allowed; names are lower-case, one folder deep at most")
        if listed and name <= listed[-1][0]:
            raise BundleError(f"member {name!r} occurs twice or out of order")
        listed.append((name, size, sha256))
    if sum(size for _, size, _ in listed) > limits.total_bytes_max:
        raise BundleError(f"members add up to more than {limits.total_bytes_max} bytes")
    return listed
