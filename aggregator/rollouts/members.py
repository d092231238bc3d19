"""Says which devices a stage has: named ones, those of a group, or a share of the fleet by a draw."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from aggregator.registry import Request, device_names
from aggregator.rollouts.plan import Stage
from aggregator.store import Store


def members(store: Store, stage: Stage, devices: Iterable[str], salt: str, now_s: float) -> list[str]:
    """Who is in a stage now, in the order in which they begin, which `salt` draws. In a transaction.

    devices: the whole fleet. A share is of at least `devices_min` devices: fewer would never decide anything.
    Raises ConfigError when the stage's group is there no longer.
    """
    known = sorted(devices, key=lambda device: hashlib.sha256(f"{salt}/{device}".encode()).digest())
    if stage.share:
        return known[: max(math.ceil(stage.share * len(known)), stage.devices_min)]
    named = frozenset(stage.devices or device_names(store, Request(f'group == "{stage.group}"'), now_s))
    return [device for device in known if device in named]
