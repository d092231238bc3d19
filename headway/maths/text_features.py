"""Short texts as numbers without a vocabulary: words and groups of letters are hashed into columns.

The same function serves training and the device, so that both see the same numbers (Weinberger et al. 2009, Feature
hashing for large scale multitask learning).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from headway.arrays import Float32

LETTERS = (3, 4)
WORD = re.compile(r"\w+")


def hashed_text(texts: Sequence[str], columns: int = 1024) -> Float32:
    """float32 (n, columns), each row of length 1, or 0 for a text without any letter or digit.

    Counted are words, pairs of words that follow each other, and groups of 3 and 4 letters within a word and its ends,
    in lower case. The CRC-32 of a token's UTF-8 bytes gives its column, and its highest bit the sign.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}; give at least 1")
    found = np.zeros((len(texts), columns), np.float32)
    for row, text in enumerate(texts):
        for token in _tokens(text):
            code = zlib.crc32(token.encode())
            found[row, (code & 0x7FFFFFFF) % columns] += -1.0 if code >> 31 else 1.0
    length = np.sqrt((found.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    return (found / np.where(length > 0, length, 1.0)).astype(np.float32)


def _tokens(text: str) -> Iterator[str]:
    words = WORD.findall(text.lower())
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))
    for word in words:
        framed = f"<{word}>"
        for size in LETTERS:
            yield from (f"#{framed[i : i + size]}" for i in range(len(framed) - size + 1))
