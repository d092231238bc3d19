"""Who counts: a device is taken out of the fleet or set aside, or what was set aside of it counts again."""

from __future__ import annotations

from aggregator.durations import moment
from aggregator.operations.operator import Operator
from aggregator.store.rows import (
    BY_HAND,
    EVERY_EPOCH,
    FORGET_REQUESTS,
    QUARANTINED,
    REMOVALS,
    SUSPICIOUS,
    VOUCHED,
    ForgetRequestRow,
    QuarantineRow,
    RemovalRow,
    VouchedRow,
)
from headway.errors import ConfigError, UnknownNameError
from headway.wire import checked_name

REASON_CHARACTERS_MAX = 200
# the command by which a device is asked to forget labels of a class
FORGET_CLASS = "forget-class"


def quarantine_device(operator: Operator, name: str, reason: str) -> None:
    """Nothing that a device reported or will report counts until it is readmitted; it is stored and acknowledged.

    The running service takes it out of the sum. Raises UnknownNameError, and ConfigError for a reason that is too long.
    """
    device = operator.the(name)
    if len(reason) > REASON_CHARACTERS_MAX:
        raise ConfigError(f"a reason has at most {REASON_CHARACTERS_MAX} characters, this one has {len(reason)}")
    problem = f"{BY_HAND}: {reason}" if reason else BY_HAND
    operator.store.rows(QUARANTINED).put(QuarantineRow(device, EVERY_EPOCH, problem, operator.now_s))
    operator.store.rows(VOUCHED).remove(device)
    operator.did("quarantine", device, reason=reason)


def readmit_device(operator: Operator, name: str) -> int:
    """What was set aside counts again, and is set aside again if there is no head with it; how many reports that were.

    A device that contradicted the others is vouched for from now on: it is not set aside for that again. Raises
    UnknownNameError when nothing of such a device is set aside.
    """
    device = checked_name(name, "device")
    whole = operator.store.rows(QUARANTINED).get(device, EVERY_EPOCH)
    if whole is not None and whole.problem.startswith(SUSPICIOUS):
        operator.store.rows(VOUCHED).put(VouchedRow(device, operator.now_s))
    count = operator.store.rows(QUARANTINED).remove(device)
    if not count:
        raise UnknownNameError(f"nothing of {device!r} is set aside; `edge-fleet devices` tells of what is")
    operator.did("readmit", device, reports=count)
    return count


def request_removal(operator: Operator, name: str) -> None:
    """Ask the running service, which holds the sum, to subtract and forget a device. Raises UnknownNameError."""
    device = operator.the(name)
    operator.store.request_removal(device, operator.now_s)
    # whose name the record carries; a moment asked for earlier is part of all
    operator.store.rows(FORGET_REQUESTS).put(ForgetRequestRow(device, 0.0, operator.who, operator.now_s))
    operator.did("remove", device)


def request_forgetting(operator: Operator, name: str, since_s: float) -> None:
    """Ask the running service to subtract what a device reported since its newest mark before `since_s` (wall clock).

    The device stays in the fleet. Raises UnknownNameError, and ConfigError for a time that has not come.
    """
    device = operator.the(name)
    if not 0 < since_s <= operator.now_s:
        raise ConfigError(f"{moment(since_s)} is not a time that has passed since 1970; to forget all, give none")
    waits = operator.store.rows(FORGET_REQUESTS).get(device)
    # one that waits and reaches further holds, or what was asked for first would stay
    if waits is None or waits.since_s > since_s:
        operator.store.rows(FORGET_REQUESTS).put(ForgetRequestRow(device, since_s, operator.who, operator.now_s))
    operator.did("forget", device, since_s=since_s)


def list_removals(operator: Operator) -> list[RemovalRow]:
    """The records of what was taken out, the oldest first."""
    return operator.store.rows(REMOVALS).all()


def forgetting(operator: Operator, name: str) -> bool:
    """Whether the running service has still to do what was asked for."""
    return operator.store.rows(FORGET_REQUESTS).get(name) is not None
