"""Remembers what became of commands, so that each takes effect once, and until the aggregator has the result.

A result is saved by the commit that saves the command's effect: after a power cut there are both, or neither, and then
the command is done again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from edge_agent.store import COMMANDS, Extent, Saved
from headway.durable import checked, unchecked
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.wire import RESULTS_MAX, CommandResult, results_that_fit

# the aggregator lists 16 at most, and only until their deadlines: what is older cannot come again
REMEMBERED_MAX = 256
LOG_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True)
class Remembered:
    """One command. arrived: the aggregator has the result; then its detail is no longer kept."""

    result: CommandResult
    arrived: bool = False


class CommandLog:
    """Of one device, by the ids of commands, the oldest first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Remembered] = OrderedDict()
        self._changed = False

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._known

    def add(self, result: CommandResult) -> None:
        """A command has been done, or is not going to be. Commit afterwards."""
        self._known[result.id] = Remembered(result)
        self._changed = True
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        waiting = [one.result.id for one in self._known.values() if not one.arrived]
        for command_id in waiting[:-RESULTS_MAX]:
            self._arrived(command_id)  # nobody asks for so many: who does gets the newest

    def keep(self, listed: Collection[str], told: Collection[str]) -> None:
        """The aggregator waits for the results of these commands, and of no other that it was told.

        told: in this connection. A command also leaves the list at its deadline: that one which was done while nobody
        could be told of it is not listed does not mean that its result has arrived. One that had arrived and is listed
        again was lost there, as with a store that was set back: it is told again.
        """
        for command_id, one in [*self._known.items()]:
            if not one.arrived and command_id not in listed and command_id in told:
                self._arrived(command_id)
            elif one.arrived and command_id in listed:
                self._known[command_id] = replace(one, arrived=False)
                self._changed = True

    @property
    def known(self) -> tuple[CommandResult, ...]:
        """Of every command that is remembered, the oldest first; without detail where it has arrived."""
        return tuple(one.result for one in self._known.values())

    @property
    def results(self) -> tuple[CommandResult, ...]:
        """What the aggregator does not have yet, the oldest first, as much as a message takes."""
        return results_that_fit(tuple(one.result for one in self._known.values() if not one.arrived))

    def take_changes(self, extent: Extent) -> Saved:
        """All of it, where something has changed."""
        if not self._changed and not (self._known and extent is Extent.EVERYTHING):
            return Saved({})
        self._changed = False
        rows = [{"result": one.result.to_json(), "arrived": one.arrived} for one in self._known.values()]
        return Saved({COMMANDS: checked(canonical_json({"commands": rows}))})

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Inverse of `take_changes`; agents before commands saved none. Raises StoreError."""
        self._known.clear()
        if COMMANDS not in saved:
            return
        where = "saved commands"
        fields = Fields(
            parse_json(unchecked(saved[COMMANDS], where), where, StoreError, LOG_BYTES_MAX), where, StoreError
        )
        for row in fields.tables("commands", count_max=REMEMBERED_MAX):
            one = Remembered(CommandResult.read(row.table("result")), row.boolean("arrived"))
            row.finish()
            self._known[one.result.id] = one
        fields.finish()

    def _arrived(self, command_id: str) -> None:
        one = self._known[command_id]
        self._known[command_id] = Remembered(replace(one.result, detail={}), arrived=True)
        self._changed = True
