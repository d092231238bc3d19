"""Reads the gradient updates that wait for a round, as one contribution of each device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from aggregator.effects import Effect, Note
from aggregator.heads.averaging import Contribution, merged
from aggregator.heads.fleet_model import FleetModel
from aggregator.policy import AveragingPolicy, Method
from aggregator.store import Store, StoredUpdate
from aggregator.store.rows import SPACES
from headway.errors import RemoteError
from headway.maths import Head
from headway.wire import PublishedHead, Update


class WaitingUpdates:
    """The contributions of a round, one of each device, by its name; read from the store each time.

    start: the bundle's head. held: devices whose updates go on waiting. unusable: updates that were left out of the
    last pass, and why: they cannot be read, or are of a bundle before this one, in the same feature space with other
    classes.
    """

    def __init__(
        self, store: Store, start: Head, space: str, version: int, policy: AveragingPolicy,
        held: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self._store, self._start, self._space = store, start, space
        self._version, self._policy, self._held = version, policy, held
        others = (row.space for row in store.rows(SPACES).all() if row.space != space)
        self._elsewhere = [head.version for other in others for head in store.heads(other, Method.AVERAGE)]
        self.unusable: list[str] = []

    def __iter__(self) -> Iterator[Contribution]:
        self.unusable = []
        for device, rows in groupby(self._store.updates(self._space), key=lambda row: row.device):
            if device in self._held:
                continue
            updates = [update for update in map(self._update, rows) if update is not None]
            if updates:
                yield merged(updates, self._version, self._policy, self._elsewhere)

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


def last_average(store: Store, model: FleetModel) -> tuple[Head, list[Effect]]:
    """Where the next round begins: the newest stored average that can be read, else the bundle's head."""
    notes: list[Effect] = []
    for row in store.heads(model.space, Method.AVERAGE):
        try:
            head = PublishedHead.decode(row.payload).head
        except RemoteError as error:
            notes.append(Note(f"stored head {row.version} cannot be read, the one before is taken: {error}", True))
            continue
        if (head.classes, head.kernel.shape) == (model.start.classes, model.start.kernel.shape):
            return head, notes
        notes.append(Note("the bundle has other classes than the last average; averaging begins anew", True))
        break
    return model.start, notes
