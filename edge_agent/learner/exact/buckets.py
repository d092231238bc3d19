"""The device's labels by time: a look-back is a sum of buckets, so that forgetting stays exact.

A bucket holds a run of labels, as rows while these are smaller than their sums (headway/maths/sums.py). As buckets age
they are merged, so that their number stays bounded and the newest past keeps the finest grain (as in the exponential
histograms of Datar et al., 2002); beyond the longest look-back they become one, but for a border where a drift began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from edge_agent.learner.exact.bucket import ROWS_PER_FEATURE, Bucket
from edge_agent.learner.exact.rows import LabelledRows
from edge_agent.learner.exact.saved import packed, unpacked
from headway.arrays import AnyArray, Int8, Int64
from headway.errors import LocalError, StoreError
from headway.maths import HalfSums, RowSums, Statistics, SumOf, Sums, joined


class Buckets:
    """At most `buckets_max` buckets, the newest `fine_buckets` never merged; one is closed with `bucket_labels`.

    lookback_labels: the longest look-back that anybody asks for, besides that to the last drift; 0 for any.
    """

    def __init__(
        self, empty: Statistics, bucket_labels: int, buckets_max: int, fine_buckets: int = 8, lookback_labels: int = 0
    ) -> None:
        self._empty = empty
        self._bucket_labels = bucket_labels
        self._fine_buckets = fine_buckets
        self._buckets_max = max(buckets_max, fine_buckets + 2)
        self._lookback_labels = lookback_labels
        self._buckets: list[Bucket] = []
        self._border = 0
        # what the buckets up to label `_summed` add up to: a cache, so that not all are summed for every solution
        self._old = HalfSums.zeros(empty.size, empty.classes)
        self._summed = 0
        self._counts = empty.counts

    @property
    def total(self) -> Statistics:
        """Everything, exactly."""
        return self.everything.statistics(self._empty.space)

    @property
    def everything(self) -> Sums:
        """The same, in the form in which it costs least."""
        self._sum_closed()
        newer = self._sum_of([bucket for bucket in self._buckets if bucket.first >= self._summed])
        return SumOf((self._old, newer)) if newer.samples else self._old

    @property
    def rows(self) -> RowSums | None:
        """The same as rows; None when some are no longer known."""
        rows = [bucket.sums for bucket in self._buckets if isinstance(bucket.sums, RowSums)]
        return joined([self._no_rows(), *rows]) if len(rows) == len(self._buckets) else None

    @property
    def classes(self) -> tuple[str, ...]:
        return self._empty.classes

    @property
    def space(self) -> str:
        return self._empty.space

    @property
    def counts(self) -> Int64:
        """Labels of each class, int64 (C,)."""
        return self._counts

    @property
    def labels(self) -> int:
        """How many labels were ever added; the number the next one gets."""
        return self._buckets[-1].end if self._buckets else 0

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, codes: Int8, labels: Int64) -> None:
        """Add labelled samples. codes: int8 (n, d); labels: int64 (n,)."""
        most = 2 * self._bucket_labels
        for start in range(0, len(codes), most):
            rows = RowSums(codes[start : start + most], labels[start : start + most], self._empty.classes)
            added = Bucket(self.labels, self.labels + rows.samples, rows)
            self._counts = self._counts + rows.counts
            newest = self._buckets[-1] if self._buckets else None
            if newest is None or self._is_full(newest):
                self._buckets.append(added)
                self._merge_old()
                continue
            if newest.first < self._summed:  # it was full, until a drift divided it
                self._old, self._summed = self._old.plus(newest.sums, sign=-1), newest.first
            self._buckets[-1] = newest.joined_with(added)

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Take label `number` (class `before`, code int8 (1, d)) out again, and put it back as `after` if given."""
        for index, bucket in enumerate(self._buckets):
            if bucket.first <= number < bucket.end:
                out, back = self._of_one(code, before), None if after is None else self._of_one(code, after)
                self._buckets[index] = bucket.changed(number, out, back)
                self._count_again()
                if number < self._summed:
                    self._old = self._old.plus(out, sign=-1)
                    self._old = self._old if back is None else self._old.plus(back)
                return
        raise LocalError(f"label {number} is in no bucket; {self.labels} were added")

    def put_back(self, number: int, code: Int8, label: int) -> None:
        """Count another sample (code int8 (1, d)) as label `number`, which `change` has taken out."""
        added = self._of_one(code, label)
        for index, bucket in enumerate(self._buckets):
            if bucket.first <= number < bucket.end:
                self._buckets[index] = bucket.put_back(number, added)
                self._count_again()
                if number < self._summed:
                    self._old = self._old.plus(added)
                return
        raise LocalError(f"label {number} is in no bucket; {self.labels} were added")

    def begin_at(self, number: int, codes: Int8, labels: Int64) -> int:
        """Let a bucket begin at label `number`, and keep it so: buckets on either side are not merged.

        codes: int8 (n, d); labels: int64 (n,): the newest samples. A bucket is divided, to the bit, when it holds rows
        or these reach back to `number`; else the border is where the next bucket begins. Returns the border.
        """
        self._border = self.labels
        for index, bucket in enumerate(self._buckets):
            if bucket.first >= number:
                self._border = bucket.first
                break
            if bucket.end <= number:
                continue
            oldest = self.labels - len(labels)
            newer: RowSums | None = None
            if number >= oldest:
                here = slice(number - oldest, bucket.end - oldest)
                newer = RowSums(codes[here], labels[here], self._empty.classes)
            if newer is None and isinstance(bucket.sums, HalfSums):
                continue
            self._buckets[index : index + 1] = bucket.divided(number, newer)
            self._border = number
            self._merge_old()
            break
        return self._border

    def recent(self, labels: int) -> Sums:
        """The newest buckets that together hold at least `labels`; everything when there are fewer."""
        chosen: list[Bucket] = []
        for bucket in reversed(self._buckets):
            if self.labels - bucket.end >= labels:
                break
            chosen.insert(0, bucket)
        return self._sum_of(chosen)

    def with_classes(self, classes: tuple[str, ...]) -> None:
        """Widen all statistics to `classes`."""
        self._empty, self._old = self._empty.with_classes(classes), self._old.with_classes(classes)
        self._buckets = [replace(bucket, sums=bucket.sums.with_classes(classes)) for bucket in self._buckets]
        self._count_again()

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """Give classes other names (old, new); they keep their places."""
        self._empty, self._old = self._empty.renamed(renames), self._old.renamed(renames)
        self._buckets = [replace(bucket, sums=bucket.sums.renamed(renames)) for bucket in self._buckets]
        self._count_again()

    def state(self) -> tuple[dict[str, AnyArray], list[list[int]]]:
        """Rows or packed statistics by name, and the label range of each bucket."""
        tensors: dict[str, AnyArray] = {}
        for index, bucket in enumerate(self._buckets):
            name = f"bucket.{index}"
            if isinstance(bucket.sums, HalfSums):
                tensors |= packed(bucket.sums, name)
                continue
            tensors |= LabelledRows(bucket.sums.codes, bucket.sums.labels).state(name)
            if bucket.removed:
                tensors[f"{name}.removed"] = np.array(bucket.removed, np.int64)
        return tensors, [[bucket.first, bucket.end] for bucket in self._buckets]

    def restore(self, tensors: Mapping[str, AnyArray], ranges: list[list[int]], border: int = 0) -> None:
        """Inverse of `state` and of the last `begin_at`. Raises StoreError on damage."""
        buckets: list[Bucket] = []
        for index, (first, end) in enumerate(ranges):
            if end <= first or (buckets and first < buckets[-1].end):
                raise StoreError(f"saved bucket {index} covers labels {first} to {end}, out of order")
            buckets.append(self._restored(tensors, f"bucket.{index}", first, end))
        self._buckets, self._border = buckets, border
        self._old, self._summed = HalfSums.zeros(self._empty.size, self._empty.classes), 0
        self._count_again()

    def take_rows(self, codes: Int8, labels: Int64) -> None:
        """Hold sums as rows again, where these are all labels that were ever added and make the same sums.

        So a state of an earlier version, which saved sums, is solved from rows. Where labels are so few this version
        would hold rows, so that nothing changes in a state of its own. codes: int8 (n, d); labels: int64 (n,).
        """
        if len(labels) != self.labels or self.labels > ROWS_PER_FEATURE * self._empty.size:
            return
        for index, bucket in enumerate(self._buckets):
            here = slice(bucket.first, bucket.end)
            rows = RowSums(codes[here], labels[here], self._empty.classes)
            space, sums = self._empty.space, bucket.sums
            if isinstance(sums, HalfSums) and rows.statistics(space) == sums.statistics(space):
                self._buckets[index] = Bucket(bucket.first, bucket.end, rows)

    def _restored(self, tensors: Mapping[str, AnyArray], name: str, first: int, end: int) -> Bucket:
        classes = self._empty.classes
        if f"{name}.codes" not in tensors:
            return Bucket(first, end, HalfSums.of(unpacked(tensors, name, self._empty, classes)))
        rows = LabelledRows.restored(tensors, name, self._empty.size)
        removed = tuple(tensors.get(f"{name}.removed", np.zeros(0, np.int64)).tolist())
        known = ((rows.labels >= 0) & (rows.labels < len(classes))).all()
        inside = list(removed) == sorted(set(removed)) and all(first <= number < end for number in removed)
        if not known or not inside or len(rows) + len(removed) != end - first:
            raise StoreError(
                f"saved {name.replace('.', ' ')} is damaged: {len(rows)} rows of {len(classes)} classes and "
                f"{len(removed)} removed do not make labels {first} to {end}"
            )
        return Bucket(first, end, RowSums(rows.codes, rows.labels, classes), removed)

    def copy(self) -> Buckets:
        """Another object that holds the same; both go their own ways from here on."""
        return copy(self)._holding(list(self._buckets))

    def apart_from(self, other: Buckets) -> tuple[Buckets, list[int]]:
        """Without the very buckets that `other` holds, too; and the place of each there, -1 for none."""
        places = {id(bucket): at for at, bucket in enumerate(other._buckets)}
        shared = [places.get(id(bucket), -1) for bucket in self._buckets]
        own = [bucket for bucket, at in zip(self._buckets, shared, strict=True) if at < 0]
        return copy(self)._holding(own), shared

    def joined_with(self, other: Buckets, shared: Sequence[int]) -> None:
        """Inverse of `apart_from`. Raises StoreError."""
        own = iter(self._buckets)
        try:
            self._buckets = [other._buckets[at] if at >= 0 else next(own) for at in shared]
        except (IndexError, StopIteration) as error:
            raise StoreError("saved buckets of an earlier moment are damaged") from error
        self._old, self._summed = HalfSums.zeros(self._empty.size, self._empty.classes), 0
        self._count_again()

    def _holding(self, buckets: list[Bucket]) -> Buckets:
        self._buckets = buckets
        return self

    def _merge_old(self) -> None:
        """Merge the neighbours that are smallest together, sparing the newest few; and all that are too old to tell."""
        while old := self._mergeable():
            at = min(old, key=lambda i: self._buckets[i + 1].end - self._buckets[i].first)
            forgotten = [i for i in old if self._too_old(self._buckets[i + 1])]
            if forgotten:
                at = forgotten[0]
            elif len(self._buckets) <= self._buckets_max:
                break
            self._sum_closed()
            self._buckets[at : at + 2] = [self._buckets[at].joined_with(self._buckets[at + 1])]

    def _mergeable(self) -> list[int]:
        return [
            index
            for index in range(len(self._buckets) - self._fine_buckets - 1)
            if self._border <= 0 or self._buckets[index].end != self._border
        ]

    def _too_old(self, bucket: Bucket) -> bool:
        return 0 < self._lookback_labels <= self.labels - bucket.end

    def _sum_closed(self) -> None:
        """Every bucket that takes no further labels goes into the sum, once: all but the newest while it is open."""
        closed = [bucket for bucket in self._buckets if bucket.first >= self._summed]
        if closed and not self._is_full(closed[-1]):
            del closed[-1]
        for bucket in closed:
            self._old, self._summed = self._old.plus(bucket.sums), bucket.end

    def _count_again(self) -> None:
        self._counts = np.asarray(sum((bucket.sums.counts for bucket in self._buckets), self._empty.counts), np.int64)

    def _is_full(self, bucket: Bucket) -> bool:
        return bucket.end - bucket.first >= self._bucket_labels

    def _sum_of(self, buckets: Sequence[Bucket]) -> Sums:
        """Rows together, as one product of all is cheaper than one of each."""
        rows = [bucket.sums for bucket in buckets if isinstance(bucket.sums, RowSums)]
        sums = [bucket.sums for bucket in buckets if isinstance(bucket.sums, HalfSums)]
        together = joined([self._no_rows(), *rows])
        return SumOf((*sums, together)) if sums else together

    def _no_rows(self) -> RowSums:
        return RowSums(np.zeros((0, self._empty.size), np.int8), np.zeros(0, np.int64), self._empty.classes)

    def _of_one(self, code: Int8, label: int) -> RowSums:
        return RowSums(code, np.array([label], np.int64), self._empty.classes)
