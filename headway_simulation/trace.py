"""Records what happened: the last lines for people, and a hash over all of them to compare two runs."""

from __future__ import annotations

import hashlib
from collections import deque

LINES_KEPT = 60


class Trace:
    """Every line goes into the hash; the newest ones are kept as text."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)

    def add(self, time_s: float, who: str, what: str) -> None:
        line = f"{time_s:12.3f}  {who:<12} {what}"
        self._hash.update(line.encode())
        self._lines.append(line)

    @property
    def digest(self) -> str:
        """Equal for equal runs."""
        return self._hash.hexdigest()

    def last(self, count: int) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._lines)[-count:]
