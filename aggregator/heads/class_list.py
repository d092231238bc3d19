"""Chooses the classes of the published head: the bundle's, and the foremost of those that devices added.

Nothing is refused for a class: reports are stored, acknowledged and summed with all their classes, and count in the
head's covariance. Only the list that devices get is bounded. A device puts at most its `classes_per_device_max` classes
with most samples forward; of all that are put forward and have `class_samples_min` samples, those come first that most
devices know, then those with most samples, then by name. So made-up names of one device push nobody out, and the list
follows from the stored reports alone, never from the order in which they came. What is set aside in quarantine puts
nothing forward until it counts again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from aggregator.policy import Limits
from headway.maths import Head, Statistics


class ClassList:
    """Counts the classes that devices added. first: the bundle's; classes_max: of the published head.

    aside: device and epoch of what is in quarantine at the moment.
    """

    def __init__(
        self,
        first: tuple[str, ...],
        limits: Limits,
        classes_max: int,
        aside: Callable[[], frozenset[tuple[str, int]]] = frozenset,
    ) -> None:
        self._aside, self._left_out = aside, frozenset[tuple[str, int]]()
        self._first, self._limits, self._classes_max = first, limits, classes_max
        self._bundle = frozenset(first)
        # by device, then epoch: samples of each added class
        self._counts: dict[str, dict[int, dict[str, int]]] = {}
        self._listed: frozenset[str] | None = frozenset()

    def put(self, device: str, epoch: int, statistics: Statistics) -> None:
        """The newest statistics of (device, epoch)."""
        self.put_counts(device, epoch, self.added_in(statistics))

    def put_counts(self, device: str, epoch: int, counts: Mapping[str, int]) -> None:
        """The same, where it is known what they hold of each class."""
        added = {name: count for name, count in counts.items() if name not in self._bundle}
        before = self._counts.get(device, {}).get(epoch, {})
        if added == before:
            return
        self._counts.setdefault(device, {})[epoch] = added
        self._listed = None

    def remove(self, device: str) -> None:
        """The device contributes nothing any more."""
        if self._counts.pop(device, None) is not None:
            self._listed = None

    def added_in(self, statistics: Statistics) -> dict[str, int]:
        """Samples of each class that is not the bundle's."""
        if self._bundle.issuperset(statistics.classes):
            return {}
        counts = zip(statistics.classes, statistics.counts.tolist(), strict=True)
        return {name: count for name, count in counts if count and name not in self._bundle}

    def problem_with(self, device: str, epoch: int, statistics: Statistics) -> str | None:
        """Why a device may not have so many classes: they would be more than any head can list. None when it may."""
        others = (counts for other, counts in self._counts.get(device, {}).items() if other != epoch)
        added = set(self.added_in(statistics)).union(*others)
        if len(added) <= self._limits.classes_max:
            return None
        return f"{device} added {len(added)} classes; at most {self._limits.classes_max} of one device are accepted"

    @property
    def listed(self) -> frozenset[str]:
        """Added classes that are published."""
        aside = self._aside()
        if self._listed is None or aside != self._left_out:
            self._left_out, self._listed = aside, self._choose(aside)
        return self._listed

    def published(self, head: Head) -> Head:
        """The head without the classes that are not listed."""
        keep = [i for i, name in enumerate(head.classes) if name in self._bundle or name in self.listed]
        if len(keep) == len(head.classes):
            return head
        classes = tuple(head.classes[i] for i in keep)
        return replace(head, kernel=head.kernel[:, keep], bias=head.bias[keep], classes=classes)

    def _choose(self, aside: frozenset[tuple[str, int]]) -> frozenset[str]:
        devices: dict[str, int] = {}
        samples: dict[str, int] = {}
        for device, epochs in self._counts.items():
            own: dict[str, int] = {}
            for epoch, counts in epochs.items():
                for name, count in counts.items() if (device, epoch) not in aside else ():
                    own[name] = own.get(name, 0) + count
            forward = sorted(own, key=lambda name: (-own[name], name))[: self._limits.classes_per_device_max]
            for name in forward:
                devices[name] = devices.get(name, 0) + 1
                samples[name] = samples.get(name, 0) + own[name]
        known = [name for name in devices if samples[name] >= self._limits.class_samples_min]
        known.sort(key=lambda name: (-devices[name], -samples[name], name))
        return frozenset(known[: max(self._classes_max - len(self._first), 0)])
