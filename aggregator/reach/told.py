"""Makes what commands show of what the API tells."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from aggregator.operations import GroupView
from aggregator.registry import DeviceView
from aggregator.store import EventRow, RegistryRow
from headway.errors import ConfigError, ConflictError, RemoteError, UnknownNameError
from headway.fields import canonical_json

if TYPE_CHECKING:
    from headway_client import models


def check_user(name: str, known: bool, new: bool) -> None:
    """Raises ConflictError for a new user who is there, UnknownNameError for one to be changed who is not."""
    if new and known:
        raise ConflictError(f"there is a user {name!r} already; edge-fleet users role changes what they may")
    if not new and not known:
        raise UnknownNameError(f"no user {name!r}; `edge-fleet users list` lists them")


def check_own(me: str, user: str) -> None:
    """Raises ConfigError for a token of somebody else."""
    if user != me:
        raise ConfigError(f"through the API everybody makes their own tokens: {me!r} cannot make one for {user!r}")


def group_of(told: models.Group) -> GroupView:
    return GroupView(told["group"], told["kind"], told["devices"], told["filter"])


def event_of(told: models.Event) -> EventRow:
    detail = told["detail"]
    text = detail if isinstance(detail, str) else canonical_json(detail).decode()
    return EventRow(told["device"], told["name"], text, told["received_s"])


def device_of(told: models.Device) -> DeviceView:
    given = {each.name: told[each.name] for each in fields(RegistryRow) if each.name in told}  # type: ignore[literal-required]
    try:
        row = RegistryRow(**given)
    except TypeError as error:
        raise RemoteError(f"the server tells of a device in a way that this program does not know: {error}") from error
    named = f"{row.bundle} {row.bundle_version}".strip()
    return DeviceView(
        RegistryRow(**given | {"bundle_and_version": named}), told["tags"], told["attributes"], told["note"],
        told["quarantined"],
    )  # fmt: skip
