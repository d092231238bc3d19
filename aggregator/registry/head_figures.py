"""Keeps what heads are worth in the field: of each version of the fleet's, and of each device from switch to switch.

Both come from the prequential sums that devices report: how many labels were scored since the last report, and how
many of them the served and the frozen head had right. A device does not say which version it had when it scored a
label; so labels count for the version that is the newest of the space when they are reported.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from aggregator.store import RegistryRow, Store
from aggregator.store.rows import HEAD_FIELD, HEAD_SPANS, HeadFieldRow, HeadSpanRow

SPANS_MAX = 30
# versions of a space that are kept, more than there are heads
VERSIONS_MAX = 64


class HeadFigures:
    """Every method must run inside a transaction of the store. What is counted is written with `write`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spaces: dict[str, Counter[str]] = {}
        self._spans: dict[str, list[HeadSpanRow]] = {}

    def scored(self, row: RegistryRow, labels: int, served_right: int, frozen_right: int, now_s: float) -> None:
        """A device reported so many more labels, less where some were taken back. row: with its head and space."""
        if not labels:
            return
        of_space = self._spaces.setdefault(row.space, Counter())
        of_space.update(labels=labels, served_right=served_right, frozen_right=frozen_right)
        spans = self._spans.get(row.device)
        if spans is None:
            spans = self._spans[row.device] = self._store.rows(HEAD_SPANS).all(row.device)
        if not spans or spans[-1].head != row.head:
            spans.append(HeadSpanRow(row.device, spans[-1].number + 1 if spans else 1, row.head, now_s, 0, 0, 0))
        last = spans[-1]
        spans[-1] = replace(
            last, labels=last.labels + labels, served_right=last.served_right + served_right,
            frozen_right=last.frozen_right + frozen_right,
        )  # fmt: skip

    def write(self) -> None:
        kept = self._store.rows(HEAD_SPANS)
        for device, spans in self._spans.items():
            kept.put_all(spans[-SPANS_MAX:])
            for old in spans[:-SPANS_MAX]:
                kept.remove(device, old.number)
        for space, counts in self._spaces.items():
            self._write_space(space, counts)
        self._spans.clear()
        self._spaces.clear()

    def _write_space(self, space: str, counts: Counter[str]) -> None:
        version = self._store.head_version(space)
        if not version:
            return
        rows = self._store.rows(HEAD_FIELD)
        known = rows.get(space, version)
        if known is None:
            known = HeadFieldRow(space, version, 0, 0, 0)
            for old in rows.all(space)[: -VERSIONS_MAX + 1]:
                rows.remove(space, old.version)
        rows.put(replace(
            known, labels=known.labels + counts["labels"], served_right=known.served_right + counts["served_right"],
            frozen_right=known.frozen_right + counts["frozen_right"],
        ))  # fmt: skip
