"""What operators want of settings: written here, taken up by the running service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.registry import known_group
from aggregator.store import Store
from aggregator.store.rows import DEVICE, FLEET, GROUP, SETTINGS_STATES, WANTED_SETTINGS, WantedSettingsRow
from aggregator.twins.effective import stored_values
from headway.errors import ConfigError
from headway.fields import canonical_json, nearest
from headway.wire import ConfigurationState, SettingValue, checked_name, checked_values

# under which the store counts the changes
SERIAL = "wanted_settings_serial"
LOOKED_AT = 20


def change_settings(
    store: Store,
    scope: str,
    name: str,
    given: Mapping[str, SettingValue],
    unset: Sequence[str],
    now_s: float,
    priority: int | None = None,
) -> Mapping[str, SettingValue]:
    """Set values for the fleet, a group or a device, and take others back; returns what is wanted there from now on.

    In a transaction. Raises ConfigError for a name or a key that nobody knows, and for values that no device can take.
    """
    values = checked_values(dict(given), "the values given", ConfigError)
    _check_scope(store, scope, name, priority)
    _check_known(store, values)
    row = store.rows(WANTED_SETTINGS).get(scope, name)
    before = {} if row is None else dict(stored_values(row.settings))
    for key in unset:
        if key not in before:
            raise ConfigError(f"{key} is not set there{nearest(key, tuple(before)) if before else ''}")
        del before[key]
    after = checked_values({**before, **values}, "what is wanted there", ConfigError)
    number = store.number(SERIAL) + 1
    store.put_number(SERIAL, number)
    rank = priority if priority is not None else 0 if row is None else row.priority
    if after:
        text = canonical_json(after).decode()
        store.rows(WANTED_SETTINGS).put(WantedSettingsRow(scope, name, text, rank, number, now_s))
    else:
        store.rows(WANTED_SETTINGS).remove(scope, name)
    return after


def wanted_settings(store: Store) -> list[WantedSettingsRow]:
    """All that operators want, the fleet's first. In a transaction."""
    return sorted(
        store.rows(WANTED_SETTINGS).all(), key=lambda row: ((FLEET, GROUP, DEVICE).index(row.scope), row.name)
    )


def _check_scope(store: Store, scope: str, name: str, priority: int | None) -> None:
    if scope == DEVICE and store.device(checked_name(name, "device")) is None:
        raise ConfigError(f"no device {name!r} in this fleet; `edge-fleet devices` lists them")
    if scope == GROUP:
        known_group(store, name)
    elif priority is not None:
        raise ConfigError("only groups have a priority: a device wins over its groups, and these over the fleet")


def _check_known(store: Store, values: Mapping[str, SettingValue]) -> None:
    """Against what devices have told, where any has: one that is written wrongly would be refused by each."""
    rows = store.rows(SETTINGS_STATES).all(count_max=LOOKED_AT)
    known = {key for row in rows for key in ConfigurationState.decode(row.payload).values}
    for key in values:
        if known and key not in known:
            raise ConfigError(
                f"no device knows a setting {key!r} that may be changed{nearest(key, tuple(sorted(known)))}"
            )
