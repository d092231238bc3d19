"""Takes in which labels devices want, and what became of those that people gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from aggregator.effects import Effect, Instant, Refused
from aggregator.inbox.reading import ActState, LabelAct, recount
from aggregator.rates import Rates
from aggregator.remote_commands import OPEN, RemoteCommands
from aggregator.store import Store
from aggregator.store.rows import DEVICE_COMMANDS, LABEL_ACTS, WANTED_LISTS, LabelActRow, WantedListRow
from headway.wire import DONE, Kind, LabelsWanted

LISTS_AN_HOUR_MAX = 120
HOUR_S = 3600.0
# commands end at their deadline without a word from the device
LOOK_INTERVAL_S = 30.0
PROBLEM_CHARACTERS_MAX = 400


class LabelWishes:
    """Of one fleet. Construct it, and call every method, inside a transaction of the store.

    commands: whose results end what people said. admit: the device's row, or Refused when there is no place for it.
    """

    def __init__(self, store: Store, commands: RemoteCommands, admit: Callable[[str, Instant], object]) -> None:
        self._store, self._commands, self._admit = store, commands, admit
        self._rates = Rates(LISTS_AN_HOUR_MAX, HOUR_S)
        self._looked_s = float("-inf")

    @property
    def handlers(self) -> Mapping[Kind, Callable[[str, bytes, Instant], None]]:
        """What takes in messages about labels."""
        return {Kind.LABELS_WANTED: self.on_list, Kind.COMMAND_RESULTS: self.on_results}

    def on_list(self, device: str, payload: bytes, now: Instant) -> None:
        """A device tells what it wants to know. Raises RemoteError."""
        known = self._store.rows(WANTED_LISTS).get(device)
        if known is not None and known.payload == payload:
            self._admit(device, now)
            return
        LabelsWanted.decode(payload)
        self._admit(device, now)
        if not self._rates.take(device, now.monotonic_s):
            raise Refused("rate", f"{device} sends more than {LISTS_AN_HOUR_MAX} lists of wanted labels an hour")
        self._store.rows(WANTED_LISTS).put(WantedListRow(device, payload, now.wall_s))
        for act in self._store.rows(LABEL_ACTS).all(device):
            if act.act == LabelAct.UNDO and act.state == ActState.DONE:
                # from here on the device says itself whether it wants to know
                self._store.rows(LABEL_ACTS).remove(device, act.window)
        recount(self._store, device, now.wall_s)

    def on_results(self, device: str, payload: bytes, now: Instant) -> None:
        """A device tells what became of commands, of labels among them. Raises RemoteError."""
        self._commands.on_results(device, payload, now)
        self._settle([act for act in self._store.rows(LABEL_ACTS).all(device) if act.state == ActState.ASKED], now)

    def tick(self, now: Instant) -> list[Effect]:
        """What devices never answered is open again."""
        if now.monotonic_s - self._looked_s >= LOOK_INTERVAL_S:
            self._looked_s = now.monotonic_s
            self._settle(self._store.rows(LABEL_ACTS).where(state=str(ActState.ASKED)), now)
        return []

    def _settle(self, acts: list[LabelActRow], now: Instant) -> None:
        changed = dict[str, None]()
        for act in acts:
            command = self._store.rows(DEVICE_COMMANDS).get(act.device, act.command)
            if command is not None and command.state in OPEN:
                continue
            if command is None or command.state == DONE or act.act in (LabelAct.SKIP, LabelAct.NONE):
                settled = replace(act, state=str(ActState.DONE))
            else:
                said = str(json.loads(command.detail).get("problem", "")) or f"the device says {command.state}"
                settled = replace(act, state=str(ActState.FAILED), problem=said[:PROBLEM_CHARACTERS_MAX])
                changed[act.device] = None
            self._store.rows(LABEL_ACTS).put(settled)
        for device in changed:
            recount(self._store, device, now.wall_s)
