"""Counts what is new since the last head that anybody was given, so that two heads in a row differ by enough.

Whoever has two heads in a row knows their difference; where one device brought one label in between, that is of this
label. So a new head waits until `devices_min` devices have changed, by `labels_min` labels together (docs/adr/0079).
A device that is taken out makes the next head due at once.

What counts as new is how far each device's number of labels is from where it was, kept in a row for each device that
changed since. A store that went back knows less than was published: each device's first report counts as known.
"""

from __future__ import annotations

from collections.abc import Mapping

from aggregator.heads.handed_over import labels_handed_over
from aggregator.policy import Policy
from aggregator.store import Store
from aggregator.store.rows import HEAD_NEWS, HeadNewsRow
from headway.wire import space_name

# numbers of the store, YES or NO: the next head waits for nothing; devices without a row may have been published
AT_ONCE, WARY = "head_at_once", "head_news_wary"
YES, NO = 1, 2
# samples of a device of which it is not known what was published
UNSEEN = -1


class HeadNews:
    """Of one feature space. Every method must run inside a transaction of the store.

    Construct it before what workers stored is taken over: that is new as well.
    """

    def __init__(self, store: Store, space: str, policy: Policy) -> None:
        self._store, self._space = store, space
        self._wanted = heads_wait(policy)
        self._devices_min, self._labels_min = policy.head_devices_min, policy.head_labels_min
        self._rows = store.rows(HEAD_NEWS)
        self._at_once, self._wary = (store.number(name + space_name(space)) == YES for name in (AT_ONCE, WARY))
        # of each device that changed: labels when the last head was made, and now
        self._before: dict[str, int] = {}
        self._now: dict[str, int] = {}
        if not self._wanted:
            if self._rows.count(space):
                self._rows.remove(space)
            return
        self._before = {row.device: row.samples for row in self._rows.all(space)}
        self._now = samples_in(store, space)
        if store.head(space) is None and not self._before and not self._wary:
            for device in self._now:
                self._enter(device, 0)
        gained = labels_handed_over(store, space)
        for device in gained.keys() & self._now.keys():
            self._changed(device, self._now[device] - gained[device])

    @property
    def at_once(self) -> bool:
        """Whether something was taken out that is in the last head."""
        return self._at_once

    @property
    def enough(self) -> bool:
        """Whether the next head may be made."""
        if not self._wanted or self._at_once:
            return True
        devices, labels = self.so_far
        return devices >= self._devices_min and labels >= self._labels_min

    @property
    def so_far(self) -> tuple[int, int]:
        """Devices with new labels since the last head, and how many labels those are."""
        return _news(self._before, self._now)

    def stored(self, device: str) -> None:
        """A report of the device was stored."""
        if not self._wanted:
            return
        before = self._now.get(device, 0)
        self._now[device] = samples_in(self._store, self._space, device).get(device, 0)
        self._changed(device, before)

    def leaving(self, device: str) -> None:
        """The device is about to be taken out of the store. What was set aside since may still be in the last head."""
        self._now.pop(device, None)
        if self._before.pop(device, None) is not None:
            self._rows.remove(self._space, device)
        if any(row.samples for row in self._store.contributions(self._space, device)):
            self._at_once = True
            take_out_at_once(self._store, self._space)

    def made(self) -> None:
        """A head was made of all there is, and somebody will be given it."""
        for name, was in ((AT_ONCE, self._at_once), (WARY, self._wary)):
            if was:
                self._store.put_number(name + space_name(self._space), NO)
        self._at_once = self._wary = False
        if self._wanted:
            unseen = [device for device, before in self._before.items() if before == UNSEEN]
            self._rows.remove(self._space)
            self._before = {}
            for device in unseen:
                self._enter(device, UNSEEN)

    def store_went_back(self) -> None:
        """The store knows less than was published."""
        if self._wanted:
            mark_unseen(self._store, self._space)
            self._wary = True
            self._before = {row.device: row.samples for row in self._rows.all(self._space)}

    def _changed(self, device: str, before: int) -> None:
        """It had so many labels before its report that was stored."""
        if self._before.get(device) == UNSEEN or (device not in self._before and self._wary):
            self._enter(device, self._now.get(device, 0))
        elif device not in self._before:
            self._enter(device, before)

    def _enter(self, device: str, samples: int) -> None:
        self._before[device] = samples
        self._rows.put(HeadNewsRow(self._space, device, samples))


def heads_wait(policy: Policy) -> bool:
    """Whether heads wait for anything."""
    return policy.head_devices_min > 1 or policy.head_labels_min > 1


def take_out_at_once(store: Store, space: str) -> None:
    """The next head of this space waits for nothing: something was taken out of it."""
    store.put_number(AT_ONCE + space_name(space), YES)


def mark_unseen(store: Store, space: str) -> None:
    """Of no device of this space it is known what was published."""
    rows = store.rows(HEAD_NEWS)
    rows.remove(space)
    rows.put_all([HeadNewsRow(space, device, UNSEEN) for device in samples_in(store, space)])
    store.put_number(WARY + space_name(space), YES)


def samples_in(store: Store, space: str, device: str = "") -> dict[str, int]:
    """Labels of every device in a space, or of one, over its epochs."""
    found: dict[str, int] = {}
    for row in store.contributions(space, device) if device else store.contributions(space):
        found[row.device] = found.get(row.device, 0) + max(row.samples, 0)
    return found


def news_in(store: Store, space: str) -> tuple[int, int]:
    """As `HeadNews.so_far`, for who only looks."""
    before = {row.device: row.samples for row in store.rows(HEAD_NEWS).all(space)}
    return _news(before, samples_in(store, space)) if before else (0, 0)


def _news(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[int, int]:
    found = [abs(now.get(device, 0) - labels) for device, labels in before.items() if labels != UNSEEN]
    return sum(count > 0 for count in found), sum(found)
