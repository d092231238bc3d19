"""The container against its golden bytes, and every way to break it. The text is docs/bundle-format.md."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.bundle.container import (
    ALIGNMENT,
    HEADER,
    MAGIC,
    BundleLimits,
    decode_container,
    encode_container,
    manifest_with_members,
    read_container,
    write_container,
)
from headway.errors import BundleError, LocalError, StoreError
from headway.fields import canonical_json

names = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8})?(\.[a-z]{1,4})?", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
tables = st.dictionaries(st.from_regex(r"[a-l]{1,6}", fullmatch=True), values, max_size=4)
members = st.dictionaries(names, st.binary(max_size=200), max_size=5)


@given(manifest=tables, held=members, signature=st.none() | st.binary(min_size=64, max_size=64))
def test_what_is_written_is_read(manifest: dict[str, object], held: dict[str, bytes], signature: bytes | None) -> None:
    payload = encode_container(manifest, held, signature)
    container = decode_container(payload)
    assert container.members == held
    assert container.signature == signature
    assert {k: v for k, v in container.manifest.items() if k != "members"} == manifest
    assert container.manifest_bytes == manifest_with_members(manifest, held)
    rest = {k: v for k, v in container.manifest.items() if k != "members"}
    assert encode_container(rest, dict(reversed(held.items())), signature) == payload


@given(held=members, data=st.data())
def test_no_changed_byte_goes_unseen(held: dict[str, bytes], data: st.DataObject) -> None:
    payload = bytearray(encode_container({"a": 1}, held))
    where = data.draw(st.integers(0, len(payload) - 1))
    payload[where] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_container(bytes(payload))
    except BundleError:
        return
    # a valid manifest of other content: another identity, and so another signature
    assert found.sha256 != decode_container(encode_container({"a": 1}, held)).sha256
    assert list(found.members.values()) == [held[name] for name in sorted(held)]


def listed(*entries: dict[str, object], body: bytes = b"", **more: object) -> bytes:
    """A bundle whose member list is written as given; `body` follows at the next boundary."""
    manifest = canonical_json({"members": list(entries), **more})
    head = HEADER.pack(MAGIC, 1, 0, len(manifest)) + manifest
    return head + (bytes(-len(head) % ALIGNMENT) + body if body else b"")


def entry(name: str = "a", payload: bytes = b"x", **changed: object) -> dict[str, object]:
    return {"name": name, "size": len(payload), "sha256": hashlib.sha256(payload).hexdigest(), **changed}


def zip_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    return buffer.getvalue()


def patched(offset: int, replacement: bytes) -> bytes:
    payload = bytearray(encode_container({"kind": "x"}, {"a": b"hello", "b": b"world"}))
    payload[offset : offset + len(replacement)] = replacement
    return bytes(payload)


WHOLE = encode_container({"kind": "x"}, {"a": b"hello", "b": b"world"})
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a Headway bundle: it starts with nothing"),
    "short": (WHOLE[:15], "not a Headway bundle"),
    "another-file": (b"\x7fELF" + bytes(60), "it starts with 7f454c46"),
    "zip": (zip_archive(), "it is a zip archive"),
    "text-mode-transfer": (WHOLE.replace(b"\r\n", b"\n", 1), "not a Headway bundle"),
    "unknown-version": (patched(8, b"\x02\0"), "bundle format 2 is unknown; this program reads 1: upgrade it"),
    "signature-length": (patched(10, b"\x20\0"), "signature length 32 is not 0 or 64"),
    "manifest-length-zero": (patched(12, bytes(4)), "manifest length 0 is outside 2..1048576"),
    "manifest-length-huge": (patched(12, b"\xff\xff\xff\xff"), "manifest length 4294967295 is outside"),
    "truncated-manifest": (WHOLE[:40], "truncated: 40 bytes, the manifest alone needs"),
    "truncated-member": (WHOLE[:-1], "truncated: member b ends at byte"),
    "trailing-bytes": (WHOLE + b"\0", "1 bytes after the last member"),
    "damaged-member": (WHOLE[:-1] + b"D", "member b does not match its sha256"),
    "padding": (patched(len(WHOLE) - 6, b"\1"), "bytes before member b are not zero"),
    "manifest-not-json": (HEADER.pack(MAGIC, 1, 0, 2) + b"{]", "manifest is not valid JSON"),
    "manifest-not-a-table": (HEADER.pack(MAGIC, 1, 0, 2) + b"[]", "not canonical JSON"),
    "manifest-spaced": (HEADER.pack(MAGIC, 1, 0, 15) + b'{"members": []}', "not canonical JSON"),
    "manifest-infinite": (HEADER.pack(MAGIC, 1, 0, 24) + b'{"a":1e999,"members":[]}', "does not fit a float64"),
    "no-members": (HEADER.pack(MAGIC, 1, 0, 2) + b"{}", "the manifest lists no members"),
    "path-traversal": (listed(entry("../etc/passwd"), body=b"x"), "member name '../etc/passwd' is not allowed"),
    "absolute-path": (listed(entry("/etc/passwd"), body=b"x"), "member name '/etc/passwd' is not allowed"),
    "hidden-file": (listed(entry(".ssh"), body=b"x"), "member name '.ssh' is not allowed"),
    "backslash": (listed(entry("a\\b"), body=b"x"), "is not allowed"),
    "upper-case": (listed(entry("A"), body=b"x"), "is not allowed"),
    "duplicate-member": (listed(entry(), entry(), body=b"x" + bytes(63) + b"x"), "member 'a' occurs twice"),
    "unsorted-members": (listed(entry("b"), entry("a"), body=b"x" + bytes(63) + b"x"), "'a' occurs twice or out"),
    "oversized-member": (listed(entry(size=1 << 40)), "size of members[0] of manifest must be"),
    "negative-size": (listed(entry(size=-1)), "must be a whole number from 0"),
    "fractional-size": (listed(entry(size=1.5)), "must be a whole number"),
    "unknown-member-key": (listed(entry(offset=3), body=b"x"), "unknown key 'offset'"),
    "wrong-hash": (listed(entry(sha256="0" * 64), body=b"x"), "member a does not match its sha256"),
    "many-members": (listed(*[entry(f"m{i:03}") for i in range(65)]), "a list of at most 64 tables"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_bundle_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    payload, message = BROKEN[case]
    path = tmp_path / "b.hwb"
    path.write_bytes(payload)
    with pytest.raises(BundleError) as caught:
        read_container(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_are_checked_before_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.hwb"
    with path.open("wb") as file:
        file.truncate((512 << 20) + 1)
    with pytest.raises(BundleError, match="536870913 bytes; a bundle has at most 536870912"):
        read_container(path)


def test_members_together_have_a_limit() -> None:
    limits = BundleLimits(member_bytes_max=100, total_bytes_max=150)
    payload = listed(entry("a", size=100), entry("b", size=100))
    with pytest.raises(BundleError, match="add up to more than 150 bytes"):
        decode_container(payload, limits)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: os.mkfifo(path)])
def test_what_is_no_file_is_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "gone.hwb"
    make(path)
    with pytest.raises(BundleError, match="cannot read bundle .*gone.hwb"):
        read_container(path)


def test_a_writer_is_held_to_the_same_rules(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="member name '../x' is not allowed"):
        encode_container({}, {"../x": b""})
    with pytest.raises(LocalError, match="leave it out"):
        encode_container({"members": []}, {})
    with pytest.raises(LocalError, match="a signature has 64 bytes, got 3"):
        encode_container({}, {}, b"abc")
    with pytest.raises(StoreError, match="cannot write"):
        write_container(tmp_path / "gone" / "b.hwb", {}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_header_is_where_the_page_says() -> None:
    assert WHOLE[:8] == b"\x89HWB\r\n\x1a\n"
    assert struct.unpack("<HHI", WHOLE[8:16])[:2] == (1, 0)
    assert WHOLE[-5:] == b"world"
    assert WHOLE.index(b"hello") % 64 == 0
