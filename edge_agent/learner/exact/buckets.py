"""Statistics of the device's labels by time: a look-back is a sum of buckets, so that forgetting stays exact.

A bucket holds the statistics of a run of labels. As buckets age they are merged, so that their number stays
bounded and the newest past keeps the finest grain (as in the exponential histograms of Datar et al., 2002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.learner.exact.saved import packed, unpacked
from headway.arrays import AnyArray, Int8, Int64
from headway.errors import LocalError, StoreError
from headway.maths import Statistics, merge


@dataclass(frozen=True, slots=True)
class Bucket:
    """Statistics of the labels numbered first, first + 1, ... up to but without `end`."""

    first: int
    end: int
    statistics: Statistics


class Buckets:
    """At most `buckets_max` buckets, the newest `fine_buckets` never merged; one is closed with `bucket_labels`."""

    def __init__(self, empty: Statistics, bucket_labels: int, buckets_max: int, fine_buckets: int = 8) -> None:
        self._empty = empty
        self._bucket_labels = bucket_labels
        self._fine_buckets = fine_buckets
        self._buckets_max = max(buckets_max, fine_buckets + 2)
        self._buckets: list[Bucket] = []
        self._total = empty
        self._border = 0

    @property
    def total(self) -> Statistics:
        """Everything, exactly."""
        return self._total

    @property
    def labels(self) -> int:
        """How many labels were ever added; the number the next one gets."""
        return self._buckets[-1].end if self._buckets else 0

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, codes: Int8, labels: Int64) -> None:
        """Add labelled samples. codes: int8 (n, d); labels: int64 (n,)."""
        added = Statistics.of(codes, labels, self._total.classes, self._total.space)
        self._total = self._total + added
        newest = self._buckets[-1] if self._buckets else None
        if newest is None or newest.end - newest.first >= self._bucket_labels:
            self._buckets.append(Bucket(self.labels, self.labels + len(codes), added))
            self._merge_old()
        else:
            self._buckets[-1] = Bucket(newest.first, newest.end + len(codes), newest.statistics + added)

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Take label `number` (class `before`, code int8 (1, d)) out again, and put it back as `after` if given."""
        for index, bucket in enumerate(self._buckets):
            if bucket.first <= number < bucket.end:
                changed = bucket.statistics - self._of_one(code, before)
                if after is not None:
                    changed = changed + self._of_one(code, after)
                self._total = self._total - bucket.statistics + changed
                self._buckets[index] = Bucket(bucket.first, bucket.end, changed)
                return
        raise LocalError(f"label {number} is in no bucket; {self.labels} were added")

    def put_back(self, number: int, code: Int8, label: int) -> None:
        """Count another sample (code int8 (1, d)) as label `number`, which `change` has taken out."""
        added = self._of_one(code, label)
        for index, bucket in enumerate(self._buckets):
            if bucket.first <= number < bucket.end:
                self._buckets[index] = Bucket(bucket.first, bucket.end, bucket.statistics + added)
                self._total = self._total + added
                return
        raise LocalError(f"label {number} is in no bucket; {self.labels} were added")

    def begin_at(self, number: int, codes: Int8, labels: Int64) -> int:
        """Let a bucket begin at label `number`, and keep it so: buckets on either side are not merged.

        codes: int8 (n, d); labels: int64 (n,): the newest samples. A bucket is divided, to the bit, when
        they reach back to `number`; else the border is where the next bucket begins. Returns the border.
        """
        self._border = self.labels
        for index, bucket in enumerate(self._buckets):
            if bucket.first >= number:
                self._border = bucket.first
                break
            after = bucket.end - number
            if after <= 0:
                continue
            oldest = self.labels - len(labels)
            if number < oldest:
                continue
            here = slice(number - oldest, bucket.end - oldest)
            newer = Statistics.of(codes[here], labels[here], self._total.classes, self._total.space)
            self._buckets[index : index + 1] = [
                Bucket(bucket.first, number, bucket.statistics - newer),
                Bucket(number, bucket.end, newer),
            ]
            self._border = number
            self._merge_old()
            break
        return self._border

    def recent(self, labels: int) -> Statistics:
        """The newest buckets that together hold at least `labels`; everything when there are fewer."""
        chosen: list[Statistics] = []
        for bucket in reversed(self._buckets):
            if self.labels - bucket.end >= labels:
                break
            chosen.append(bucket.statistics)
        return merge(chosen) if chosen else self._empty

    def with_classes(self, classes: tuple[str, ...]) -> None:
        """Widen all statistics to `classes`."""
        self._empty, self._total = self._empty.with_classes(classes), self._total.with_classes(classes)
        self._buckets = [Bucket(b.first, b.end, b.statistics.with_classes(classes)) for b in self._buckets]

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """Give classes other names (old, new); they keep their places."""
        self._empty, self._total = self._empty.renamed(renames), self._total.renamed(renames)
        self._buckets = [Bucket(b.first, b.end, b.statistics.renamed(renames)) for b in self._buckets]

    def state(self) -> tuple[dict[str, AnyArray], list[list[int]]]:
        """Packed statistics by name, and the label range of each bucket."""
        tensors: dict[str, AnyArray] = {}
        for index, bucket in enumerate(self._buckets):
            tensors |= packed(bucket.statistics, f"bucket.{index}")
        return tensors, [[bucket.first, bucket.end] for bucket in self._buckets]

    def restore(self, tensors: Mapping[str, AnyArray], ranges: list[list[int]], border: int = 0) -> None:
        """Inverse of `state` and of the last `begin_at`. Raises StoreError on damage."""
        buckets: list[Bucket] = []
        for index, (first, end) in enumerate(ranges):
            statistics = unpacked(tensors, f"bucket.{index}", self._empty, self._empty.classes)
            if end <= first or (buckets and first < buckets[-1].end):
                raise StoreError(f"saved bucket {index} covers labels {first} to {end}, out of order")
            buckets.append(Bucket(first, end, statistics))
        self._buckets, self._border = buckets, border
        self._total = merge([self._empty, *(bucket.statistics for bucket in buckets)])

    def _merge_old(self) -> None:
        """Merge the neighbours that are smallest together, sparing the newest few."""
        while len(self._buckets) > self._buckets_max:
            old = [
                index
                for index in range(len(self._buckets) - self._fine_buckets - 1)
                if self._border <= 0 or self._buckets[index].end != self._border
            ]
            at = min(old, key=lambda i: self._buckets[i + 1].end - self._buckets[i].first)
            left, right = self._buckets[at], self._buckets[at + 1]
            merged = Bucket(left.first, right.end, left.statistics + right.statistics)
            self._buckets[at : at + 2] = [merged]

    def _of_one(self, code: Int8, label: int) -> Statistics:
        return Statistics.of(code, np.array([label], np.int64), self._total.classes, self._total.space)
