"""Sends each device the settings that are wanted for it, and keeps what it says of them.

    an operator's change, a group that changes -> merged -> differs from what was sent -> sent, retained
    configuration-state -> kept, shown, compared

Only devices that have told of their settings are sent any: older agents do not know the message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from aggregator.effects import Effect, Instant, Note
from aggregator.registry import Request, device_names
from aggregator.store import Store
from aggregator.store.rows import (
    DEVICE,
    FLEET,
    GROUP,
    SENT_SETTINGS,
    SETTINGS_PENDING,
    SETTINGS_REFUSED,
    SETTINGS_STATES,
    WANTED_SETTINGS,
    DeviceSinceRow,
    SentSettingsRow,
    SettingsStateRow,
    WantedSettingsRow,
)
from aggregator.twins.effective import merged, stored_values
from aggregator.twins.wanted import SERIAL
from headway.errors import ConfigError
from headway.fields import canonical_json
from headway.ports import Outgoing
from headway.wire import Configuration, ConfigurationState, Kind, topic

# devices come into groups and leave them as they learn
GROUPS_INTERVAL_S = 10.0
# a fleet of 10,000 is gone through every 20 s
DEVICES_PER_S = 500
DEVICES_A_TICK = 200
# a device whose settings do not come to their end is sent them again, and answers: what it said last may have come
# before what it said first
AGAIN_S = 600.0


class Twins:
    """Of one fleet. Construct it, and call every method, inside a transaction of the store.

    admit: makes sure that a device is known.
    """

    def __init__(self, fleet: str, store: Store, admit: Callable[[str, Instant], object]) -> None:
        self._fleet, self._store, self._admit = fleet, store, admit
        self._serial = -1
        self._groups_due_at_s = float("-inf")
        # devices whose message is to go out, again or for the first time, in turn
        self._unsent: OrderedDict[str, None] = OrderedDict()
        # when each device that waits, or tries them, is sent them again
        self._again_at_s: dict[str, float] = {}

    def on_state(self, device: str, payload: bytes, now: Instant) -> None:
        """A device tells which settings hold. Raises RemoteError."""
        state = ConfigurationState.decode(payload)
        self._admit(device, now)
        known, sent = self._store.rows(SETTINGS_STATES).get(device), self._store.rows(SENT_SETTINGS).get(device)
        self._store.rows(SETTINGS_STATES).put(SettingsStateRow(device, payload, now.wall_s))
        pending = (0 if sent is None else sent.version) != state.version or state.state == "waiting"
        self._stand(device, now.wall_s, pending=pending, refused=bool(state.refused) and not pending)
        if state.state == "applied":
            self._again_at_s.pop(device, None)
        else:
            self._again_at_s.setdefault(device, now.monotonic_s + AGAIN_S)
        if known is None:
            self._serial = -1  # the first that is heard of it: it may be sent settings
        elif sent is not None and state.version != sent.version and state.state != "waiting":
            self._unsent[device] = None  # it has lost its own, or the broker has lost ours

    def again(self) -> None:
        """The broker may have lost what it retained."""
        self._unsent.update((row.device, None) for row in self._store.rows(SENT_SETTINGS).all())

    def forget(self, device: str) -> None:
        """The device was removed; should it come back, it is a new one."""
        self._unsent.pop(device, None)
        self._again_at_s.pop(device, None)
        self._store.rows(WANTED_SETTINGS).remove(DEVICE, device)
        self._store.rows(SENT_SETTINGS).remove(device)
        self._store.rows(SETTINGS_STATES).remove(device)
        self._stand(device, 0.0, pending=False, refused=False)

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever operators and groups have changed, and what is still to go out."""
        effects: list[Effect] = []
        serial = self._store.number(SERIAL)
        if serial != self._serial or now.monotonic_s >= self._groups_due_at_s:
            self._serial = serial
            effects += self._compare(now)
        for device in [name for name, at_s in self._again_at_s.items() if now.monotonic_s >= at_s]:
            self._again_at_s[device] = now.monotonic_s + AGAIN_S
            self._unsent[device] = None
        for _ in range(min(len(self._unsent), DEVICES_A_TICK)):
            device, _none = self._unsent.popitem(last=False)
            row = self._store.rows(SENT_SETTINGS).get(device)
            if row is not None:
                effects.append(self._message(row))
        return effects

    def _compare(self, now: Instant) -> list[Effect]:
        """Note what each device is to be sent, where that differs from what it was sent."""
        rows = {(row.scope, row.name): row for row in self._store.rows(WANTED_SETTINGS).all()}
        said = self._store.rows(SETTINGS_STATES).all()
        pending = {row.device for row in self._store.rows(SETTINGS_PENDING).all()}
        self._groups_due_at_s = now.monotonic_s + max(GROUPS_INTERVAL_S, len(said) / DEVICES_PER_S)
        sent = {row.device: row for row in self._store.rows(SENT_SETTINGS).all()}
        notes: list[Effect] = []
        groups = self._groups(rows, now, notes)
        for state in said:
            device = state.device
            own = [rows.get((FLEET, "")), rows.get((DEVICE, device)), *groups.get(device, ())]
            values = {key: one.value for key, one in merged(row for row in own if row is not None).items()}
            text, before = canonical_json(values).decode(), sent.get(device)
            held = self._version_held(state) if before is None and device in pending else 0
            version = held if before is None else before.version
            # one that was never sent any from this store may hold others: the store was lost, or it was removed
            if (before is not None and before.settings != text) or (before is None and (values or version)):
                self._put(SentSettingsRow(device, 1 + version, text, now.wall_s))
        return notes

    @staticmethod
    def _version_held(state: SettingsStateRow) -> int:
        """Of the settings that a device says it holds; 0 for none."""
        return ConfigurationState.decode(state.payload).version

    def _groups(
        self, rows: dict[tuple[str, str], WantedSettingsRow], now: Instant, notes: list[Effect]
    ) -> dict[str, list[WantedSettingsRow]]:
        """What is wanted by the groups of each device."""
        found: dict[str, list[WantedSettingsRow]] = {}
        for (scope, name), row in rows.items():
            if scope != GROUP:
                continue
            try:
                names = device_names(self._store, Request(f'group == "{name}"'), now.wall_s)
            except ConfigError as error:
                notes.append(Note(f"settings of group {name} reach nobody: {error}", warning=True))
                continue
            for device in names:
                found.setdefault(device, []).append(row)
        return found

    def _put(self, row: SentSettingsRow) -> None:
        self._store.rows(SENT_SETTINGS).put(row)
        self._stand(row.device, row.sent_s, pending=True, refused=False)
        self._unsent[row.device] = None

    def _stand(self, device: str, now_s: float, *, pending: bool, refused: bool) -> None:
        """Keep since when each of the two holds."""
        for collection, holds in ((SETTINGS_PENDING, pending), (SETTINGS_REFUSED, refused)):
            rows = self._store.rows(collection)
            if not holds:
                rows.remove(device)
            elif rows.get(device) is None:
                rows.put(DeviceSinceRow(device, now_s))

    def _message(self, row: SentSettingsRow) -> Outgoing:
        payload = Configuration(row.version, stored_values(row.settings)).encode()
        return Outgoing(topic(self._fleet, row.device, Kind.CONFIGURATION), payload, retain=True)
