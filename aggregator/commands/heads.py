"""Implements ``edge-fleet heads``: the feature spaces that are served side by side, and the newest head of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.store import Store, StoredHead
from aggregator.store.rows import SPACES, SpaceRow
from headway.errors import RemoteError
from headway.wire import PublishedHead

HEADER = ("SPACE", "BUNDLE", "HEAD", "METHOD", "DEVICES", "SAMPLES", "REPORTED", "STATE")
NUMBERS = frozenset({"HEAD", "DEVICES", "SAMPLES", "REPORTED"})


@dataclass(frozen=True, slots=True)
class HeadView:
    """One feature space. head: version of its newest head, 0 before the first; devices, samples: that are in it;
    reported: devices that have statistics in the space; state: ``served`` or ``archived``.
    """

    space: str
    bundle: str
    head: int
    method: str
    devices: int
    samples: int
    reported: int
    state: str


def show_heads(store: Store, in_json: bool) -> None:
    """``edge-fleet heads``."""
    with store.transaction():
        views = heads_of_spaces(store)
    if in_json:
        print_json_rows([asdict(view) for view in views])
    elif views:
        rows = [(view.space[:12], *map(str, list(asdict(view).values())[1:])) for view in views]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
    else:
        print("no bundle has been served yet")


def heads_of_spaces(store: Store) -> list[HeadView]:
    """Every feature space that was ever served, those with the newest heads first. Inside a transaction."""
    views = [_view(store, row) for row in store.rows(SPACES).all()]
    return sorted(views, key=lambda view: (-view.head, view.space))


def _view(store: Store, row: SpaceRow) -> HeadView:
    head, reported = _readable(store.head(row.space)), store.contributor_count(row.space)
    version, method, devices, samples = (
        (0, "-", 0, 0) if head is None else (head.version, head.method, head.devices, head.samples)
    )
    state = "archived" if row.archived_s else "served"
    return HeadView(row.space, row.bundle, version, method, devices, samples, reported, state)


def _readable(row: StoredHead | None) -> PublishedHead | None:
    try:
        return None if row is None else PublishedHead.decode(row.payload)
    except RemoteError:
        return None  # stored by a version that wrote heads otherwise
