"""Who is told of alerts by a service: the channels of its configuration, each delivered to by a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aggregator.alerts.channels import Channel
from aggregator.alerts.delivery import Delivery, DeliveryThread
from aggregator.alerts.mail import Email
from aggregator.alerts.webhook import Webhook
from aggregator.config import Settings
from aggregator.store import Store
from aggregator.store.sql import SqlStore
from headway.ports import Clock

STOP_TIMEOUT_S = 2.0


def channels_of(settings: Settings, clock: Clock) -> list[tuple[Channel, float]]:
    """Each channel that is configured, and for how long a message to it is tried. Raises ConfigError."""
    found: list[tuple[Channel, float]] = []
    if settings.webhook.url:
        found.append((Webhook(settings.webhook, clock), settings.webhook.give_up_s))
    if settings.email.host:
        found.append((Email(settings.email, clock), settings.email.give_up_s))
    return found


@contextmanager
def telling(settings: Settings, channels: list[tuple[Channel, float]], clock: Clock) -> Iterator[None]:
    """Deliver alerts meanwhile."""
    threads = [
        DeliveryThread(lambda: _opened(settings.database), _builder(settings.fleet, *channel, clock), channel[0].name)
        for channel in channels
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop(STOP_TIMEOUT_S)


def _builder(fleet: str, channel: Channel, give_up_s: float, clock: Clock) -> Callable[[Store], Delivery]:
    return lambda store: Delivery(fleet, store, channel, give_up_s, clock)


def _opened(url: str) -> tuple[Store, Callable[[], None]]:
    store = SqlStore(url)
    return store, store.close
