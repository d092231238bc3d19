"""Waits for the place of the one service of a database, while another process has it."""

from __future__ import annotations

import logging
import time

from aggregator.store.serving import ServingPlace
from headway.sd_notify import SystemdNotifier
from headway.stopping import StopRequest

LOG = logging.getLogger("headway.aggregator")
# how often it looks whether the place is free
POLL_S = 1.0


def stood_by(place: ServingPlace, stop: StopRequest) -> bool:
    """Return when the place is ours; False when told to stop before it was free. Raises StoreError, see `take`."""
    notifier = SystemdNotifier.from_environment()
    waits = False
    while not stop.requested:
        if place.take():
            if waits:
                LOG.info("the service that ran on this database is gone; taking its place")
            return True
        if not waits:
            waits = True
            LOG.info("another service runs on this database; standing by")
            notifier.ready("standing by")
        time.sleep(POLL_S)
        notifier.progress()
    return False
