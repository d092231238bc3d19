"""Simulates an operator who changes settings of devices from afar, and remembers what is wanted and what was said."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aggregator.registry import put_list_group
from aggregator.store.rows import (
    DEVICE,
    FLEET,
    GROUP,
    SENT_SETTINGS,
    SETTINGS_STATES,
    WANTED_SETTINGS,
    WantedSettingsRow,
)
from aggregator.twins import change_settings
from edge_agent.config import AgentConfig
from edge_agent.remote import Kept, in_force
from headway.errors import ConfigError, StoreError
from headway.wire import ConfigurationState, SettingValue
from headway_simulation.history import Violation
from headway_simulation.remote_settings import configured
from headway_simulation.server_disk import ServerStore

# values that any device takes, and one that none does; none changes what is learned
VALUES: Mapping[str, tuple[SettingValue, ...]] = {
    "sync.interval_s": (10.0, 45.0, 120.0, -1.0),
    "sync.ack_timeout_s": (30.0, 100.0, 300.0, -1.0),
    "sensor.poll_interval_s": (20.0, 40.0, 60.0),
}
GROUP_NAME = "north"
SCOPES = (FLEET, GROUP, GROUP, DEVICE, DEVICE, DEVICE)


@dataclass(frozen=True, slots=True)
class Wants:
    """What operators want at one moment: by scope and name; members: devices of the group."""

    rows: Mapping[tuple[str, str], WantedSettingsRow] = field(default_factory=dict)
    members: frozenset[str] = frozenset()

    def of(self, device: str) -> dict[str, SettingValue]:
        """By ``table.key``: the fleet's, over them the group's, over them the device's own."""
        keys = [(FLEET, ""), *([(GROUP, GROUP_NAME)] if device in self.members else []), (DEVICE, device)]
        values: dict[str, SettingValue] = {}
        for key in keys:
            values |= json.loads(self.rows[key].settings) if key in self.rows else {}
        return values


@dataclass(slots=True)
class WantedSettings:
    """wants: what the server's disk holds; said: every state that a machine of a device has told, by device."""

    wants: Wants = field(default_factory=Wants)
    said: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    def change(self, store: ServerStore, device: str, chance: random.Random, now_s: float) -> str:
        """Set a value, or take one back, for everybody, the group or the device, if the server's disk takes it; returns
        what, in words."""
        scope, key = chance.choice(SCOPES), chance.choice(list(VALUES))
        name = {FLEET: "", GROUP: GROUP_NAME, DEVICE: device}[scope]
        known = self.wants.rows.get((scope, name))
        unset = known is not None and key in json.loads(known.settings) and chance.random() < 0.4
        given = {} if unset else {key: chance.choice(VALUES[key])}
        try:
            with store.transaction():
                if scope == GROUP:
                    put_list_group(store, GROUP_NAME, (device,), (), now_s)
                change_settings(store, scope, name, given, (key,) if unset else (), now_s)
                rows = {(row.scope, row.name): row for row in store.rows(WANTED_SETTINGS).all()}
        except (StoreError, ConfigError) as error:
            return f"change settings, which is refused: {error}"
        self.wants = Wants(rows, self.wants.members | ({device} if scope == GROUP else frozenset()))
        return f"want {given or f'no {key}'} of {name or 'everybody'}"

    def set_back(self, wants: Wants) -> None:
        """The server's disk was replaced by one that holds this."""
        self.wants = wants

    def removed(self, device: str) -> None:
        """The device was taken out of the fleet."""
        rows = {key: row for key, row in self.wants.rows.items() if key != (DEVICE, device)}
        self.wants = Wants(rows, self.wants.members - {device})

    def told(self, device: str, payload: bytes, kept: Kept | None) -> None:
        """A machine tells which settings hold. kept: what its disk holds; None where that takes nothing: then it works
        on without. Raises Violation."""
        self.said[device].add(payload)
        if kept is None:
            return
        state = ConfigurationState.decode(payload)
        found = state.version, state.remote, dict(state.refused)
        durable = kept.version, tuple(sorted(kept.taken)), dict(kept.refused)
        if found != durable or (state.state == "applied" and not kept.confirmed):
            raise Violation(f"{device} says of its settings {found}, its disk holds {durable}")

    def check_server(self, store: ServerStore) -> None:
        """What the server holds is what operators want, and what devices have said. Raises Violation."""
        rows = {(row.scope, row.name): row for row in store.rows(WANTED_SETTINGS).all()}
        if rows != self.wants.rows:
            raise Violation(f"the server holds wanted settings {rows}, operators wanted {self.wants.rows}")
        for row in store.rows(SETTINGS_STATES).all():
            if row.payload not in self.said[row.device]:
                raise Violation(f"the server holds a state of {row.device}'s settings that no machine of it has told")

    def waits(self, store: ServerStore, device: str, kept: Kept) -> str:
        """What has not come to its end between server and one machine of the device; empty when everything has."""
        row, sent = store.rows(SETTINGS_STATES).get(device), store.rows(SENT_SETTINGS).get(device)
        if row is None:
            return f"{device} has not said which settings hold"
        state = ConfigurationState.decode(row.payload)
        if state.state != "applied" or not kept.confirmed or kept.version != state.version:
            stands = "confirmed" if kept.confirmed else "on trial"
            return f"{device} has settings {kept.version}, {stands}; the server knows of {state.version}, {state.state}"
        version = 0 if sent is None else sent.version
        if version != state.version:
            return f"{device} has settings {state.version}, it was sent {version}"
        wanted = self.wants.of(device)
        if sent is not None and json.loads(sent.settings) != wanted:
            return f"{device} was not sent the settings that are wanted now"
        return ""

    def check_machine(self, own: AgentConfig, runs: AgentConfig, kept: Kept) -> None:
        """Each value that is wanted holds, or is refused with a reason; no other value has changed.

        own: the device's own configuration; runs: what it runs; kept: what its disk holds. Raises Violation.
        """
        name, mine, found = own.device, in_force(own), in_force(runs)
        if found != in_force(configured(own, kept.taken)):
            raise Violation(f"{name} runs with other settings than its disk holds")
        wanted = self.wants.of(name)
        for key, value in found.items():
            if key not in wanted and value != mine[key]:
                raise Violation(f"{name} runs with {key} = {value}, which nobody wants; its own is {mine[key]}")
            if key in wanted and value != wanted[key] and not kept.refused.get(key):
                raise Violation(f"{name} runs with {key} = {value}; {wanted[key]} is wanted, and it has no reason")

    def check_told(self, store: ServerStore, device: str, runs: Sequence[AgentConfig]) -> None:
        """What the server shows is what one of the device's machines runs, with a reason for each difference from what
        is wanted. Raises Violation."""
        row = store.rows(SETTINGS_STATES).get(device)
        if row is None:
            raise Violation(f"the server does not know the settings of {device}")
        told = ConfigurationState.decode(row.payload)
        if dict(told.values) not in [in_force(config) for config in runs]:
            raise Violation(f"the server shows {dict(told.values)} of {device}, which no machine of it runs")
        for key, value in self.wants.of(device).items():
            if told.values.get(key) != value and not told.refused.get(key):
                raise Violation(
                    f"the server shows {key} = {told.values.get(key)} of {device}, not {value}, and no reason"
                )
