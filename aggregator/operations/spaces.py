"""The feature spaces that are served side by side, and the newest head of each."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.held_heads import held_version, hold
from aggregator.operations.operator import Operator
from aggregator.store import Store, StoredHead
from aggregator.store.rows import SPACES, SpaceRow
from headway.errors import RemoteError, UnknownNameError
from headway.wire import PublishedHead

METHODS = ("exact", "average")


@dataclass(frozen=True, slots=True)
class SpaceView:
    """One feature space, and the newest head of it.

    head: its version, 0 before the first; devices, samples: that are in it; reported: devices that have statistics in
    the space; state: ``served`` or ``archived``; held: version that an operator wants back, 0 for none.
    """

    space: str
    bundle: str
    head: int
    method: str
    devices: int
    samples: int
    reported: int
    state: str
    held: int = 0


def list_spaces(store: Store) -> list[SpaceView]:
    """Every feature space that was ever served, those with the newest heads first. In a transaction."""
    views = [_view(store, row) for row in store.rows(SPACES).all()]
    return sorted(views, key=lambda view: (-view.head, view.space))


def hold_head(operator: Operator, space: str, version: int) -> None:
    """Ask the running service to publish an earlier head of a feature space again, and no newer one until `let_go`.

    Raises UnknownNameError for a head that is not kept.
    """
    kept = [row.version for method in METHODS for row in operator.store.heads(space, method)]
    if version not in kept:
        known = ", ".join(map(str, sorted(kept, reverse=True))) or "none"
        raise UnknownNameError(f"head {version} of this feature space is not kept; there are {known}")
    hold(operator.store, space, version)
    operator.did("hold-head", str(version), space=space)


def let_go(operator: Operator, space: str) -> None:
    """The next head is made of all that devices have learned. Raises UnknownNameError where none is held."""
    version = held_version(operator.store, space)
    if not version:
        raise UnknownNameError("no head of this feature space is held")
    hold(operator.store, space, 0)
    operator.did("let-head-go", str(version), space=space)


def _view(store: Store, row: SpaceRow) -> SpaceView:
    head, reported = _readable(store.head(row.space)), store.contributor_count(row.space)
    version, method, devices, samples = (
        (0, "-", 0, 0) if head is None else (head.version, head.method, head.devices, head.samples)
    )
    state = "archived" if row.archived_s else "served"
    held = held_version(store, row.space)
    return SpaceView(row.space, row.bundle, version, method, devices, samples, reported, state, held)


def _readable(row: StoredHead | None) -> PublishedHead | None:
    try:
        return None if row is None else PublishedHead.decode(row.payload)
    except RemoteError:
        return None  # stored by a version that wrote heads otherwise
