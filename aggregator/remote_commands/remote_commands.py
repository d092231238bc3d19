"""Sends commands to devices, takes their results, and ends at its deadline what was not answered.

    asked -> (the device knows it) -> sent, with all others that are open, retained -> done, failed or expired

The retained list is what the device is to do, whole, so that a message which is lost or comes twice changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from aggregator.effects import Effect, Instant
from aggregator.remote_commands.asking import COUNT, commands_of, forget_command
from aggregator.remote_commands.states import ASKED, OPEN, SENT
from aggregator.store import Store
from aggregator.store.rows import ASKED_WITH, DEVICE_COMMANDS, SUPPORTED_COMMANDS, CommandRow, SupportedCommandsRow
from headway.fields import canonical_json
from headway.ports import Outgoing
from headway.wire import COMMANDS_MAX, EXPIRED, FAILED, Command, CommandResult, CommandResults, Commands, Kind, topic

# commands of a device that are kept once they have ended, the newest
ENDED_MAX = 50
# commands that go out, or end, in one turn: the service does other things, too
AT_ONCE_MAX = 500
SILENT = "no answer came before the deadline; should one come later, it is shown in place of this"
NEVER_SENT = "the device was not sent it: its edge-agent is older and takes no commands, or was not here since"


class RemoteCommands:
    """Of one fleet. Construct it, and call every method, inside a transaction of the store.

    admit: makes sure that a device is known.
    """

    def __init__(self, fleet: str, store: Store, admit: Callable[[str, Instant], object]) -> None:
        self._fleet, self._store, self._admit = fleet, store, admit
        # devices whose list is to go out
        self._changed: dict[str, None] = {}
        # how many commands had been asked for at the last look, and when the next one is due at the latest
        self._looked_at, self._look_s = -1, 0.0

    def on_results(self, device: str, payload: bytes, now: Instant) -> None:
        """A device tells what it can do and what became of commands. Raises RemoteError."""
        told = CommandResults.decode(payload)
        self._admit(device, now)
        names = canonical_json(list(told.supported)).decode()
        known = self._store.rows(SUPPORTED_COMMANDS).get(device)
        if known is None or known.names != names:
            self._store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow(device, names))
            self._look_s = now.wall_s
        for result in told.results:
            self._take(device, result, now)
        if told.results:
            self._changed[device] = None  # what is no longer listed has arrived
            self._look_s = now.wall_s  # and makes room for the next

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever was asked for, and whatever has come to its deadline; of many, some with each call."""
        count = self._store.number(COUNT)
        if count == self._looked_at and now.wall_s < self._look_s:
            return self.take()
        rows = [row for state in OPEN for row in self._store.rows(DEVICE_COMMANDS).where(state=state)]
        told = self._store.rows(SUPPORTED_COMMANDS).all() if rows else []
        supported = {row.device: json.loads(row.names) for row in told}
        due = _due(rows, supported, now)
        for row in due[:AT_ONCE_MAX]:
            self._move(row, row.name in supported.get(row.device, ()), now)
        self._looked_at = count
        # those that wait are looked at again when the first of them ends, or its device has answered another; what is
        # left of many, with the next call
        later = [row.deadline_s for row in rows if row.deadline_s > now.wall_s]
        self._look_s = now.wall_s if len(due) > AT_ONCE_MAX else min(later, default=float("inf"))
        return self.take()

    def _move(self, row: CommandRow, known: bool, now: Instant) -> None:
        """known: the device can do it."""
        if now.wall_s >= row.deadline_s:
            why = SILENT if row.state == SENT else NEVER_SENT
            self._put(row, EXPIRED, canonical_json({"problem": why}).decode(), now)
        elif known:
            self._put(row, SENT, "{}", now)
        else:
            detail = {"problem": f"the device knows no command {row.name}"}
            self._put(row, FAILED, canonical_json(detail).decode(), now)

    def again(self) -> None:
        """The broker may have lost what it retained."""
        self._changed.update((row.device, None) for row in self._store.rows(DEVICE_COMMANDS).where(state=SENT))

    def forget(self, device: str) -> None:
        """The device was removed; should it come back, it is a new one."""
        self._changed.pop(device, None)
        self._store.rows(DEVICE_COMMANDS).remove(device)
        self._store.rows(ASKED_WITH).remove(device)
        self._store.rows(SUPPORTED_COMMANDS).remove(device)

    def take(self) -> list[Effect]:
        """The lists that have changed since the last call."""
        changed, self._changed = self._changed, {}
        return [self._message(device) for device in changed]

    def _take(self, device: str, result: CommandResult, now: Instant) -> None:
        """What a device says ends a command, once. One that came late was done all the same."""
        row = self._store.rows(DEVICE_COMMANDS).get(device, result.id)
        if row is None or not (row.state in OPEN or (row.state == EXPIRED and result.state != EXPIRED)):
            return
        self._put(row, result.state, canonical_json(dict(result.detail)).decode(), now)

    def _put(self, row: CommandRow, state: str, detail: str, now: Instant) -> None:
        rows = self._store.rows(DEVICE_COMMANDS)
        rows.put(replace(row, state=state, detail=detail, since_s=now.wall_s))
        self._changed[row.device] = None
        if state in OPEN:
            return
        ended = [one for one in commands_of(self._store, row.device) if one.state not in OPEN]
        for old in ended[:-ENDED_MAX]:
            forget_command(self._store, old.device, old.id)

    def _message(self, device: str) -> Outgoing:
        sent = [row for row in commands_of(self._store, device) if row.state == SENT]
        commands = tuple(Command(row.id, row.name, json.loads(row.arguments), row.deadline_s) for row in sent)
        return Outgoing(topic(self._fleet, device, Kind.COMMANDS), Commands(commands).encode(), retain=True)


def _due(rows: Sequence[CommandRow], supported: Mapping[str, Sequence[str]], now: Instant) -> list[CommandRow]:
    """Those to be ended, or sent: of each device so many that a message names them all. In the order of asking."""
    room = Counter(dict.fromkeys(supported, COMMANDS_MAX))
    room.subtract(row.device for row in rows if row.state == SENT and now.wall_s < row.deadline_s)
    due = []
    for row in sorted(rows, key=lambda row: row.number):
        if now.wall_s >= row.deadline_s:
            due.append(row)
        elif row.state == ASKED and room[row.device] > 0:
            due.append(row)
            room[row.device] -= row.name in supported[row.device]
    return due
