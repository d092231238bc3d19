"""Declares what is kept of settings from afar: what operators want, what each device was sent, and what it said."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection

# whom an operator's values are for
FLEET, GROUP, DEVICE = "fleet", "group", "device"


@dataclass(frozen=True, slots=True)
class WantedSettingsRow:
    """Values for the fleet (name ''), a group or a device. scope: `FLEET`, `GROUP` or `DEVICE`.

    settings: JSON text, values by ``table.key``. priority: of groups, a device in several takes each value from the
    highest; number: grows with every change, and decides between groups of one priority. changed_s: wall clock.
    """

    scope: str
    name: str
    settings: str
    priority: int
    number: int
    changed_s: float


@dataclass(frozen=True, slots=True)
class SentSettingsRow:
    """What one device was told last. version: grows with every change; settings: as in `WantedSettingsRow`."""

    device: str
    version: int
    settings: str
    sent_s: float


@dataclass(frozen=True, slots=True)
class SettingsStateRow:
    """What a device said last of its settings; payload: an encoded ConfigurationState."""

    device: str
    payload: bytes
    received_s: float


@dataclass(frozen=True, slots=True)
class DeviceSinceRow:
    """Something holds of a device, since then: wall clock."""

    device: str
    since_s: float


WANTED_SETTINGS = Collection("wanted_settings", WantedSettingsRow, ("scope", "name"))
SENT_SETTINGS = Collection("sent_settings", SentSettingsRow, ("device",))
SETTINGS_STATES = Collection("settings_states", SettingsStateRow, ("device",))
# devices that have not decided about what they were sent last, and those that refused a value of it
SETTINGS_PENDING = Collection("settings_pending", DeviceSinceRow, ("device",))
SETTINGS_REFUSED = Collection("settings_refused", DeviceSinceRow, ("device",))
