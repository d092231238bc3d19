"""Archives of which no byte is trusted: read right, row by row, or refused in one line."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headway.errors import DataError
from headway.fields import nearest
from headway.npz import PIECE_BYTES, Archive, is_finished, open_file
from headway.samples import Samples, read_samples

CLASSES = ("a", "b")


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def header(text: str) -> bytes:
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def read(path: Path, **limits: int) -> Samples:
    return read_samples(path, CLASSES, 1 << 28, label_files=True, **limits)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", ">f8", "i1", ">i4", "u2", "?"])
def test_rows_left_in_the_file_are_those_that_were_written(
    tmp_path: Path, save: Callable[..., None], dtype: str
) -> None:
    x = np.random.default_rng(0).normal(size=(50, 7, 3)).astype(dtype)
    save(tmp_path / "x.npz", x=x)
    with read(tmp_path / "x.npz", held_bytes_max=0) as left:
        assert not isinstance(left.x, np.ndarray)
        for start, stop in ((20, 25), (25, 50), (0, 3), (49, 50), (50, 50)):  # from the middle, and back
            np.testing.assert_array_equal(left.windows(start, stop), x[start:stop].astype(np.float32))
            assert left.windows(start, stop).dtype == np.float32


def test_many_windows_take_little_memory(tmp_path: Path) -> None:
    x = np.zeros((40_000, 100, 6), np.float16)  # 48 MB
    x[:, 0, 0] = np.arange(40_000) % 1024
    np.savez_compressed(tmp_path / "x.npz", x=x)
    tracemalloc.start()
    with read(tmp_path / "x.npz", held_bytes_max=1 << 20) as samples:
        for start in range(0, 40_000, 256):
            assert samples.windows(start, start + 256)[0, 0, 0] == start % 1024
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_closing_leaves_no_descriptor_open(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((9, 2, 2)))
    (tmp_path / "bad.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:-30])
    before = len(os.listdir("/proc/self/fd"))
    read(tmp_path / "x.npz", held_bytes_max=0).close()
    read(tmp_path / "x.npz")
    with pytest.raises(DataError):
        read(tmp_path / "bad.npz")
    with pytest.raises(DataError):
        read_samples(tmp_path / "x.npz", CLASSES, 100)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_whatever_byte_of_the_windows_is_damaged_shows_before_the_last_is_read(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    path = tmp_path / "x.npz"
    save(path, x=np.random.default_rng(0).normal(size=(8, 3, 2)))
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].compress_size
    first = good.index(b"x.npy") + len(b"x.npy") + 20
    for at in range(first, first + size - 20, 3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :])
        with pytest.raises(DataError, match=r"x\.npz"), read(path, held_bytes_max=0) as samples:
            samples.windows(0, 8)


def test_a_file_that_is_cut_or_written_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for change in (lambda: os.truncate(path, 5000), lambda: path.open("ab").write(b"x")):
        np.savez(path, x=np.ones((500, 10, 2)))
        with read(path, held_bytes_max=0) as samples:
            samples.windows(0, 10)
            change()
            with pytest.raises(DataError, match="was changed while it was read"):
                samples.windows(10, 500)


def test_small_arrays_in_fortran_order_are_read_and_large_ones_named(tmp_path: Path) -> None:
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(30, 4, 2)))
    np.savez(tmp_path / "f.npz", x=x)
    np.testing.assert_array_equal(read(tmp_path / "f.npz").windows(0, 30), x.astype(np.float32))
    with pytest.raises(DataError, match=r"Fortran order.*numpy\.ascontiguousarray"):
        read(tmp_path / "f.npz", held_bytes_max=1000)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(np.array([[1, None]])), "Python objects"),
        (npy(np.zeros(3, [("a", "f4")])), "give numbers or texts"),
        (npy(np.zeros((0, 4, 2))), "holds no windows"),
        (npy(np.zeros((4, 0, 2))), "holds no windows"),
        (npy(np.float32(3)), "it must be numbers of shape"),
        (npy(np.zeros(4)), "it must be numbers of shape"),
        (npy(np.zeros((4, 2), complex)), "it must be numbers of shape"),
        (npy(np.zeros((4, 2)))[:-8], "but 56 are there"),
        (npy(np.zeros((4, 2))) + b"more", "but 68 are there"),
        (b"hello, this is no array at all", "not a readable"),
        (b"", "not a readable"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, print()), }"), "x has no header of NumPy$"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), "), "not a readable"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }"), "axes, each of 0 to"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 2), }"), "not a readable"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000000000, 0), }"), "axes"),
        (header("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000, 2), }"), "texts"),
        (header("((((" * 28), "not a readable"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31), "header of 2147483648 bytes"),
        (b"\x93NUMPY\x03\x00" + npy(np.zeros((2, 2)))[8:], "no array of numbers"),
        (b"\x93NUMPY\x09\x00" + npy(np.zeros((2, 2)))[8:], "no array of numbers"),
    ],
)
def test_an_array_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        read(zipped(tmp_path / "x.npz", x=content))
    assert "\n" not in str(refused.value)
    assert "x.npz" in str(refused.value)


def test_members_that_are_encrypted_packed_otherwise_twice_or_countless_are_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "x.npz", npy(np.zeros((4, 2)))
    secret = bytearray(zipped(path, x=x).read_bytes())
    for record, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        secret[secret.index(record) + flags] |= 1
    path.write_bytes(secret)
    with pytest.raises(DataError, match="x is encrypted"):
        read(path)
    for method, number in ((zipfile.ZIP_LZMA, 14), (zipfile.ZIP_BZIP2, 12)):
        with pytest.raises(DataError, match=f"packed by method {number}"):
            read(zipped(path, method, x=x))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", x)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", x)
    with pytest.raises(DataError, match="holds 'x' twice"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(4000):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(DataError, match=f"table of members has .* at most {PIECE_BYTES}"):
        read(path)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="inflates to 100000128 bytes; at most 1000000 are accepted"):
        read_samples(
            zipped(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=npy(np.zeros((100_000, 1000), np.int8))), None, 1_000_000
        )
    np.savez(tmp_path / "y.npz", x=np.zeros((1000, 2, 2)), y=np.zeros(1000, int))
    with pytest.raises(DataError, match=r"\['y'\] take 8128 bytes; at most 4000 are accepted \(labels_bytes_max\)"):
        read(tmp_path / "y.npz", labels_bytes_max=4000)


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF])
def test_texts_that_are_no_unicode_are_refused(tmp_path: Path, code: int) -> None:
    ids = np.array([code, 65], np.uint32).view("<U1")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), id=ids)
    with pytest.raises(DataError, match="characters outside Unicode"):
        read(tmp_path / "x.npz")


def test_big_endian_labels_and_ids_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), y=np.array(["b", ""], ">U1"), id=np.array([70000, 2], ">i4"))
    samples = read(tmp_path / "x.npz")
    assert samples.y is not None
    assert samples.ids is not None
    assert samples.y.tolist() == [1, -1]
    assert (tuple(samples.ids), samples.ids[0:1], samples.ids[1]) == (("70000", "2"), ("70000",), "2")


def test_an_archive_is_finished_when_it_ends_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(20, 2, 2)), y=np.zeros(20, int))
    whole = path.read_bytes()
    for size in (0, 10, 300, len(whole) - 22, len(whole) - 1):
        path.write_bytes(whole[:size])
        with open_file(path) as file:
            assert not is_finished(file)
    commented = whole[:-2] + struct.pack("<H", 5) + b"hello"
    for content in (whole, commented):
        path.write_bytes(content)
        with open_file(path) as file:
            assert is_finished(file)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", tmp_path):
        with pytest.raises(DataError, match="is no regular file"):
            Archive.open(path, 1000)


@pytest.mark.parametrize(
    ("arrays", "meant", "called"),
    [
        *(({"x", name}, "y", name) for name in ("Y", "labels", "label", "target", "Targets", "classes", "y_true",
                                                "class_index", "ground_truth", "data/y", "category")),
        *(({"x", "y", name}, "id", name) for name in ("ids", "ID", "window_ids", "uuid")),
        *(({name, "y"}, "x", name) for name in ("X", "data", "windows", "inputs")),
        ({"ids", "y"}, "id", "ids"),
        ({"id", "labels"}, "y", "labels"),
    ],
)  # fmt: skip
def test_a_misnamed_array_is_refused_with_its_right_name(
    tmp_path: Path, arrays: set[str], meant: str, called: str
) -> None:
    given = {
        name: np.zeros((2, 2, 2)) if name in ("x", "X", "data", "windows", "inputs") else [0, 1] for name in arrays
    }
    np.savez(tmp_path / "x.npz", **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"x.npz holds .*; did you mean '{meant}' by '{called}'"):
        read(tmp_path / "x.npz")


def test_other_arrays_are_named_and_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), y=[0, 1], time=[1.0, 2.0], labels=["a", "b"])
    assert read(tmp_path / "x.npz").unread == ("time", "labels")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), add_class=["c"])
    with pytest.raises(DataError, match="changes of classes come in a file of their own"):
        read(tmp_path / "x.npz")


def test_the_files_own_order_of_classes_counts(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), y=[0, 1], classes=["a", "b"])
    assert read(tmp_path / "x.npz").unread == ()
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), y=[0, 1], classes=["b", "a"])
    with pytest.raises(DataError, match=r"its classes are \['b', 'a'\], not \['a', 'b'\] in this order; give y as nam"):
        read(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2)), y=["a", "b"], classes=["b", "a"])
    assert read(tmp_path / "x.npz").unread == ()


def test_a_table_of_members_that_points_nowhere_is_the_files_fault_not_the_disks(tmp_path: Path) -> None:
    payload = zipped(tmp_path / "x.npz", x=npy(np.zeros((40, 2)))).read_bytes()
    (tmp_path / "x.npz").write_bytes(payload[:200] + payload[260:])
    with pytest.raises(DataError, match="is not a readable .npz file"):
        read(tmp_path / "x.npz")


def test_a_message_repeats_neither_a_whole_page_nor_every_name() -> None:
    said = nearest("x" * 100_000, tuple(f"class-{number}" for number in range(4096)))
    assert said.endswith("class-59 and 4036 more")
    assert len(said) < 1000
