"""Names the array types used across modules, and the one check they all need."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]
Int64 = NDArray[np.int64]
Strings = NDArray[np.str_]
Bools = NDArray[np.bool_]
AnyArray = NDArray[Any]

# rows of a square matrix; as float64 it takes 2 MB
LARGE_ROWS = 512
# as the allocator of glibc begins; the numbers are those of its malloc.h
FREED_KEPT_BYTES = 128 << 10
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
# of a server, and the largest block that glibc takes from its heap
SERVER_KEPT_BYTES, SERVER_GROWS_BYTES, HEAP_BLOCK_BYTES_MAX = 64 << 20, 8 << 20, 32 << 20


def describe(array: AnyArray) -> str:
    """Dtype and shape in the form every error message uses, e.g. ``float32 (40, 100, 6)``."""
    return f"{array.dtype} {tuple(array.shape)}"


def is_large(rows: int) -> bool:
    """Whether square matrices of so many rows are handled as what memory is spent on: in parts, and not kept."""
    return rows > LARGE_ROWS


def return_freed_memory() -> None:
    """Let the C library's allocator give freed memory back to the operating system, where it can (glibc).

    It keeps what arrays of some megabytes leave behind, in case they come again: tens of megabytes on a device.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def return_freed_memory_early() -> None:
    """From now on the allocator keeps no more than `FREED_KEPT_BYTES` of freed memory at the end of its heap, and takes
    blocks beyond that directly from the operating system (glibc). By itself it raises both limits to twice the largest
    block that it has seen, and never lowers them. Threads that begin from now on share that heap: each leaves holes in
    one of its own.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        change(M_ARENA_MAX, 1)
        change(M_TRIM_THRESHOLD, FREED_KEPT_BYTES)
        change(M_MMAP_THRESHOLD, FREED_KEPT_BYTES)


def keep_freed_memory() -> None:
    """From now on the allocator keeps up to `SERVER_KEPT_BYTES` of freed memory, and grows in large steps (glibc).

    For a server, which makes arrays of about a megabyte for each message: memory that comes from the operating system
    anew is filled with zeros page by page, which takes longer than the arithmetic on it.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        change(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES_MAX)
        change(M_TRIM_THRESHOLD, SERVER_KEPT_BYTES)
        change(M_TOP_PAD, SERVER_GROWS_BYTES)


def large_zeros(rows: int, columns: int) -> Float64:
    """Zeros, float64 (rows, columns), in memory of their own where they are large.

    It goes back to the operating system with the array. What the C library's allocator gets back it may keep, and a
    matrix of thousands of features that is made now and then would be resident for ever.
    """
    if not is_large(min(rows, columns)):
        return np.zeros((rows, columns))
    return np.frombuffer(mmap.mmap(-1, 8 * rows * columns, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.float64).reshape(
        rows, columns
    )
