"""Who counts: a device is taken out of the fleet, or what was set aside of it counts again."""

from __future__ import annotations

from aggregator.operations.operator import Operator
from aggregator.store.rows import QUARANTINED
from headway.errors import UnknownNameError
from headway.wire import checked_name


def readmit_device(operator: Operator, name: str) -> int:
    """What was set aside counts again, and is set aside again if there is no head with it; how many reports that were.

    Raises UnknownNameError when nothing of such a device is set aside.
    """
    device = checked_name(name, "device")
    count = operator.store.rows(QUARANTINED).remove(device)
    if not count:
        raise UnknownNameError(f"nothing of {device!r} is set aside; `edge-fleet devices` tells of what is")
    operator.did("readmit", device, reports=count)
    return count


def request_removal(operator: Operator, name: str) -> None:
    """Ask the running service, which holds the sum, to subtract and forget a device. Raises UnknownNameError."""
    device = operator.the(name)
    operator.store.request_removal(device, operator.now_s)
    operator.did("remove", device)
