"""What heads wait for, and what is spent of the privacy budget: for the command line and the API."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aggregator.heads import heads_left, heads_wait, multiplier, news_in, spent_epsilon, spent_in
from aggregator.policy import Method, Policy
from aggregator.store import Store
from aggregator.store.rows import PRIVACY_SPENT


@dataclass(frozen=True, slots=True)
class PrivacyView:
    """Of one feature space. waits: whether a head waits for devices_min devices and labels_min labels that are new.

    labels_min is 0 in a fleet that averages, where a round waits for updates of so many devices.
    epsilon: the budget, 0 without noise, when all that follows is 0 too; delta, unit, interval_s as configured.
    epsilon_spent: by so many heads; heads_left: that the rest pays for; noise_multiplier: of each, in units of what one
    label or device reaches; last_s: unix time of the last one, 0 before the first.
    """

    space: str
    waits: bool
    new_devices: int
    devices_min: int
    new_labels: int
    labels_min: int
    epsilon: float
    delta: float
    unit: str
    interval_s: float
    epsilon_spent: float = 0.0
    noise_multiplier: float = 0.0
    heads: int = 0
    heads_left: int = 0
    last_s: float = 0.0


def privacy_views(store: Store, policy: Policy) -> list[PrivacyView]:
    """One for each feature space, while reading the store. Raises ConfigError without what noise needs."""
    # between two rounds nothing of a space need be stored but what it spent
    spent = {row.space for row in store.rows(PRIVACY_SPENT).all()} if policy.privacy.wanted else set()
    return [_view(store, space, policy) for space in sorted({*store.spaces(), *spent})]


def _view(store: Store, space: str, policy: Policy) -> PrivacyView:
    devices, labels = news_in(store, space)
    settings = policy.privacy
    plain = PrivacyView(
        space, heads_wait(policy), devices, policy.head_devices_min, labels, policy.head_labels_min,
        settings.epsilon, settings.delta, str(settings.unit), settings.interval_s,
    )  # fmt: skip
    if policy.method is Method.AVERAGE:
        sent = {device for device, _, _ in store.update_keys(space)}
        least = policy.averaging.updates_min
        plain = replace(plain, waits=True, new_devices=len(sent), devices_min=least, new_labels=0, labels_min=0)
    if not settings.wanted:
        return plain
    rows = spent_in(store, space)
    return replace(
        plain,
        epsilon_spent=spent_epsilon(rows, settings),
        noise_multiplier=multiplier(settings),
        heads=sum(row.heads for row in rows),
        heads_left=heads_left(rows, settings),
        last_s=max((row.at_s for row in rows), default=0.0),
    )
