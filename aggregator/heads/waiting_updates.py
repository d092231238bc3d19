"""Reads the gradient updates that wait for a round, as one contribution of each device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from aggregator.heads.averaging import Contribution, merged
from aggregator.policy import AveragingPolicy, Method
from aggregator.store import Store, StoredUpdate
from aggregator.store.rows import SPACES
from headway.errors import RemoteError
from headway.maths import Head
from headway.wire import Update


class WaitingUpdates:
    """The contributions of a round, one of each device, by its name; read from the store each time.

    start: the bundle's head. only: of these devices, None for all. held: devices whose updates go on waiting;
    devices_max: after so many, all others', too, and `rest` are these. unusable: updates that were left out of the last
    pass, and why: they cannot be read, or are of a bundle before this one, in the same space with other classes.
    """

    def __init__(
        self, store: Store, start: Head, space: str, version: int, policy: AveragingPolicy,
        held: frozenset[str] = frozenset(), devices_max: int | None = None,
        only: frozenset[str] | None = None,
    ) -> None:  # fmt: skip
        self._devices_max, self._only = devices_max, only
        self._store, self._start, self._space = store, start, space
        self._version, self._policy, self._held = version, policy, held
        others = (row.space for row in store.rows(SPACES).all() if row.space != space)
        self._elsewhere = [head.version for other in others for head in store.heads(other, Method.AVERAGE)]
        self.unusable: list[str] = []
        self.rest: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Contribution]:
        self.unusable = []
        taken, rest = 0, set()
        for device, rows in groupby(self._store.updates(self._space), key=lambda row: row.device):
            if device in self._held or (self._only is not None and device not in self._only):
                continue
            if taken == self._devices_max:
                rest.add(device)
                continue
            updates = [update for update in map(self._update, rows) if update is not None]
            if updates:
                taken += 1
                yield replace(merged(updates, self._version, self._policy, self._elsewhere), device=device)
        self.rest = frozenset(rest)

    def _update(self, row: StoredUpdate) -> Update | None:
        try:
            update = Update.decode(row.payload)
        except RemoteError as error:
            self.unusable.append(f"update {row.sequence} of {row.device}: {error}")
            return None
        kernel, classes = self._start.kernel, self._start.classes
        if update.classes != classes or update.delta.shape != (len(classes), len(kernel) + 1):
            self.unusable.append(f"update {row.sequence} of {row.device}: the bundle has other classes now")
            return None
        return update
