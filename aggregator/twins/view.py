"""Shows the settings of one device: what is wanted and by whom, what it was sent, what holds, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aggregator.registry import groups_of
from aggregator.store import Store
from aggregator.store.rows import DEVICE, FLEET, GROUP, SENT_SETTINGS, SETTINGS_STATES, WANTED_SETTINGS
from aggregator.twins.effective import Wanted, merged
from headway.wire import ConfigurationState, SettingValue


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that is not as it is wanted. reported: None where the device does not tell; reason: why, or empty."""

    key: str
    wanted: SettingValue
    reported: SettingValue | None
    reason: str


@dataclass(frozen=True, slots=True)
class SettingsView:
    """Of one device. version: that it was sent last, 0 for none. state: what it said; None: it cannot be changed from
    afar, or has not said yet."""

    device: str
    wanted: Mapping[str, Wanted]
    version: int
    state: ConfigurationState | None
    differences: tuple[Difference, ...]

    @property
    def words(self) -> str:
        """Where it stands, in a word."""
        if self.state is None:
            return "unknown"
        if self.state.version != self.version or self.state.state == "waiting":
            return "pending"
        if self.state.refused:
            return "refused"
        return "pending" if self.differences else self.state.state


def settings_view(store: Store, device: str, now_s: float) -> SettingsView:
    """In a transaction. Raises ConfigError where a group's filter cannot be read."""
    kept = store.rows(WANTED_SETTINGS)
    rows = [kept.get(FLEET, ""), kept.get(DEVICE, device)]
    if any(row.scope == GROUP for row in kept.all()):
        rows += [kept.get(GROUP, group) for group in groups_of(store, device, now_s)]
    wanted = merged(row for row in rows if row is not None)
    sent, said = store.rows(SENT_SETTINGS).get(device), store.rows(SETTINGS_STATES).get(device)
    state = None if said is None else ConfigurationState.decode(said.payload)
    differences = () if state is None else tuple(_differences(wanted, state))
    return SettingsView(device, wanted, 0 if sent is None else sent.version, state, differences)


def _differences(wanted: Mapping[str, Wanted], state: ConfigurationState) -> Iterator[Difference]:
    for key, one in wanted.items():
        reported = state.values.get(key)
        if reported != one.value:
            yield Difference(key, one.value, reported, state.refused.get(key, ""))
