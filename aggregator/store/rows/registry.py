"""Declares what is kept of devices beside their row: tags, notes, attributes, groups, days, scored epochs."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection

# families of properties: what an operator set (a note has the name ''), and what the device says of itself
TAG, NOTE, ATTRIBUTE = "tag", "note", "attribute"


@dataclass(frozen=True, slots=True)
class PropertyRow:
    """A named text of a device. family: `TAG`, `NOTE` or `ATTRIBUTE`."""

    device: str
    family: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group with a name. condition: the filter that makes it; empty for a list of devices."""

    name: str
    condition: str
    changed_s: float


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A device on the list of a group."""

    device: str
    group_name: str


@dataclass(frozen=True, slots=True)
class DayRow:
    """What a device did on one day, UTC. day: days since 1970.

    labels: that were scored; served_right, frozen_right: of them, those that the served and the frozen head had right
    (all labels of the window); both 0 for a regression. bytes: received from the device.
    """

    device: str
    day: int
    labels: int
    served_right: int
    frozen_right: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ScoredEpochRow:
    """What the newest metrics of an epoch came to that is not the device's present one; it may come back."""

    device: str
    epoch: int
    labels: int
    served_right: int
    frozen_right: int


PROPERTIES = Collection("properties", PropertyRow, ("device", "family", "name"), ("value",))
GROUPS = Collection("groups", GroupRow, ("name",))
MEMBERS = Collection("group_members", MemberRow, ("device", "group_name"), ("group_name",))
DAYS = Collection("days", DayRow, ("device", "day"))
SCORED_EPOCHS = Collection("scored_epochs", ScoredEpochRow, ("device", "epoch"))
