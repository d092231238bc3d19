"""Bytes changed the way disks, networks and attackers change them, from a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

INTERESTING = (b"\0", b"\xff", b"\x80", bytes(8), b"\xff" * 8, b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}",
               b'""', b"9" * 5000, b"[" * 2000, b"\\ud800", b"../", b"true")  # fmt: skip


def mutated(payload: bytes, others: Sequence[bytes], random: np.random.Generator) -> bytes:
    """One to four changes: bits, bytes, cuts, repeats, splices, and JSON values exchanged for wild ones."""
    data = bytearray(payload)
    for _ in range(int(random.integers(1, 5))):
        where, length = int(random.integers(0, len(data) + 1)), int(random.integers(1, 33))
        choice = int(random.integers(0, 8))
        if choice == 0 and where < len(data):
            data[where] ^= 1 << int(random.integers(0, 8))
        elif choice == 1:
            data[where : where + length] = random.bytes(length)
        elif choice == 2:
            del data[where:]
        elif choice == 3:
            del data[where : where + length]
        elif choice == 4:
            data[where:where] = data[where : where + length]
        elif choice == 5:
            other = others[int(random.integers(0, len(others)))]
            start = int(random.integers(0, len(other)))
            data[where : where + length] = other[start : start + length]
        elif choice == 6:
            data[where : where + length] = INTERESTING[int(random.integers(0, len(INTERESTING)))]
        else:
            data = bytearray(exchanged(bytes(data), others, random))
    return bytes(data)


def exchanged(payload: bytes, others: Sequence[bytes], random: np.random.Generator) -> bytes:
    """A JSON number or text of the data replaced; lengths around it are left to be wrong."""
    found = [match.span(1) for match in re.finditer(rb':("[^"\\]*"|-?\d+(?:\.\d+)?|true|false)', payload)]
    if not found:
        return payload
    start, end = found[int(random.integers(0, len(found)))]
    return payload[:start] + INTERESTING[int(random.integers(0, len(INTERESTING)))] + payload[end:]
