"""Five numbers, each the count of a filter, so that a list and a command give the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from aggregator.api import Desk
from aggregator.inbox import count_waiting, news_of
from aggregator.page.live import INBOX, Pulse
from aggregator.registry import LABELS_MIN, VOCABULARY, resolved
from aggregator.store import RegistryQuery, Store


@dataclass(frozen=True, slots=True)
class Number:
    """What is counted. alarming: red when it is not zero."""

    key: str
    name: str
    filter: str
    alarming: bool
    doc: str


NUMBERS = (
    Number("online", "Online", 'link == "online"', False, "connected to the broker"),
    Number("learning", "Learning", 'learning == "on"', False, "labels are being learned"),
    Number(
        "below", "Below frozen", f"scored >= {LABELS_MIN} and accuracy_gain < 0", True,
        f"less often right than the head that shipped, with {LABELS_MIN} labels or more",
    ),
    Number("drifting", "Drifting", "since_drift < 1d", True, "a drift alarm within a day"),
    Number(
        "attention", "Need attention", 'health in ("problem", "degraded") or quarantined', True,
        "a problem is reported, or what it reports is set aside",
    ),
)  # fmt: skip
DEVICES = "devices"


def counted(store: Store, now_s: float) -> Pulse:
    """The numbers, `DEVICES` and `INBOX`, in one picture of the store. now_s: wall clock."""
    registry = store.registry
    found = {DEVICES: registry.count(None, now_s), INBOX: count_waiting(store, now_s)}
    found |= {each.key: registry.count(resolved(store, each.filter), now_s) for each in NUMBERS}
    newest = registry.find(RegistryQuery(None, VOCABULARY.fields["silent_for"], descending=True, count_max=1), now_s)
    seen = [(row.device, row.last_seen_s, row.counter) for row in newest]
    return Pulse(found, hashlib.sha256(repr((found, seen)).encode()).hexdigest()[:16])


def pulse_of(desk: Desk) -> Callable[[], Pulse]:
    """What open pages are told, read from the store of this desk."""

    def read() -> Pulse:
        with desk.stores.one() as store, store.reading():
            pulse = counted(store, desk.clock.wall_s())
            return replace(pulse, stamp=f"{pulse.stamp}-{'-'.join(map(str, news_of(store)))}")

    return read
