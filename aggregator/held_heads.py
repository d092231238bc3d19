"""An earlier head that an operator wants back: it is published again, and no newer one until it is let go.

What devices learn goes on being summed; once the head is let go, the next one is made of all of it. Two numbers of the
store for each feature space: the version that is held, and the one that was last published so.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from aggregator.store import Store
from headway.errors import RemoteError
from headway.wire import PublishedHead

SPACE_DIGITS = 16


@lru_cache(maxsize=4)
def read_head(payload: bytes) -> PublishedHead:
    """A stored head; several ask for the newest one in each round. Raises RemoteError for one that cannot be read."""
    return PublishedHead.decode(payload)


def held_version(store: Store, space: str) -> int:
    """The version that is held; 0 for none. In a transaction."""
    return store.number(_held(space))


def hold(store: Store, space: str, version: int) -> None:
    """Ask the running service to publish this version again, and to hold it; 0 lets it go."""
    store.put_number(_held(space), version)
    store.put_number(_told(space), 0)


def waits(store: Store, space: str) -> bool:
    """Whether the held version has not been published again yet."""
    held = held_version(store, space)
    return held > 0 and store.number(_told(space)) != held


def taken(store: Store, space: str, version: int) -> PublishedHead | None:
    """The held head as `version`, which is about to be published; None, and nothing is held, where it is not kept."""
    held = held_version(store, space)
    for method in ("exact", "average"):
        for row in store.heads(space, method):
            if row.version == held:
                try:
                    head = replace(read_head(row.payload), version=version)
                except RemoteError:
                    break  # stored by a version that wrote heads otherwise
                store.put_number(_told(space), held)
                return head
    hold(store, space, 0)
    return None


def _held(space: str) -> str:
    return f"held_head/{space[:SPACE_DIGITS]}"


def _told(space: str) -> str:
    return f"held_head_told/{space[:SPACE_DIGITS]}"
