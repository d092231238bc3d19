"""The feature spaces that are served side by side, and the newest head of each."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store import Store, StoredHead
from aggregator.store.rows import SPACES, SpaceRow
from headway.errors import RemoteError
from headway.wire import PublishedHead


@dataclass(frozen=True, slots=True)
class SpaceView:
    """One feature space, and the newest head of it.

    head: its version, 0 before the first; devices, samples: that are in it; reported: devices that have statistics in
    the space; state: ``served`` or ``archived``.
    """

    space: str
    bundle: str
    head: int
    method: str
    devices: int
    samples: int
    reported: int
    state: str


def list_spaces(store: Store) -> list[SpaceView]:
    """Every feature space that was ever served, those with the newest heads first. In a transaction."""
    views = [_view(store, row) for row in store.rows(SPACES).all()]
    return sorted(views, key=lambda view: (-view.head, view.space))


def _view(store: Store, row: SpaceRow) -> SpaceView:
    head, reported = _readable(store.head(row.space)), store.contributor_count(row.space)
    version, method, devices, samples = (
        (0, "-", 0, 0) if head is None else (head.version, head.method, head.devices, head.samples)
    )
    state = "archived" if row.archived_s else "served"
    return SpaceView(row.space, row.bundle, version, method, devices, samples, reported, state)


def _readable(row: StoredHead | None) -> PublishedHead | None:
    try:
        return None if row is None else PublishedHead.decode(row.payload)
    except RemoteError:
        return None  # stored by a version that wrote heads otherwise
