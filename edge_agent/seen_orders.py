"""Keeps the numbers of the newest orders beside all stores of a device: a bundle of another feature space has a store
of its own, and what was over in the one must not be believed again in the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from headway.durable import checked, read_regular, unchecked, write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.wire import ORDERS, Kind

log = logging.getLogger("edge-agent")

FILE = "orders.seen"


def read_seen(state_dir: Path) -> dict[Kind, tuple[int, int]]:
    """Series and number of the newest order of each kind; of none where the file is not there, or damaged."""
    path = state_dir / FILE
    try:
        fields = Fields(
            parse_json(unchecked(read_regular(path), str(path)), str(path), StoreError), str(path), StoreError
        )
        found = {kind: fields.integers(kind, count_max=2) for kind in ORDERS if fields.has(kind)}
        return {kind: (numbers[0], numbers[1]) for kind, numbers in found.items() if len(numbers) == 2}
    except FileNotFoundError:
        return {}
    except (OSError, StoreError) as error:
        log.warning("%s; the store alone tells which orders are old", error)
        return {}


def write_seen(state_dir: Path, orders: Mapping[Kind, tuple[int, int]]) -> None:
    """Durably. A disk that refuses ends nothing: the store has them, too, and the next order tries again."""
    try:
        write_durably(
            state_dir / FILE, checked(canonical_json({str(kind): [*order] for kind, order in orders.items()}))
        )
    except StoreError as error:
        log.warning("%s", error)
