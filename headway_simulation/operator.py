"""Simulates an operator who gives devices commands while everything fails, and remembers what came of each."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from aggregator.remote_commands import OPEN, ask
from aggregator.store.rows import DEVICE_COMMANDS, CommandRow
from edge_agent.store import COMMANDS
from edge_agent.sync import CommandLog
from headway.errors import ConfigError, StoreError
from headway.wire import DONE, EXPIRED
from headway_simulation.history import History, Violation
from headway_simulation.server_disk import ServerStore

# drawn with these weights: labels and starts are what could be done twice
NAMES = ("label",) * 4 + ("restart", "ask-for-labels", "train-now", "sync-now")
SECONDS = (300.0, 3600.0, 86_400.0)


@dataclass(slots=True)
class Operator:
    """asked: every command by its id; ended: what devices have durably said of it, by id."""

    asked: dict[str, CommandRow] = field(default_factory=dict)
    ended: dict[str, set[str]] = field(default_factory=dict)

    def ask(self, store: ServerStore, device: str, window: str, label: str, chance: random.Random, now_s: float) -> str:
        """Ask the device for something, if the server's disk takes it; returns what. window, label: for a label."""
        name, seconds = chance.choice(NAMES), chance.choice(SECONDS)
        arguments = {"window": window, "class": label} if name == "label" else {}
        try:
            with store.transaction():
                row = ask(store, device, name, arguments, "operator", now_s, seconds)
        except (StoreError, ConfigError) as error:
            return f"{name}, which is refused: {error}"
        self.asked[row.id] = row
        return name

    def committed(self, state: dict[str, bytes], history: History, classes: tuple[str, ...]) -> None:
        """A device saved its state: a command that has ended on it has ended once. Raises Violation."""
        if COMMANDS not in state:
            return
        log = CommandLog()
        log.restore(state)
        for result in log.known:
            if result.id not in self.asked:
                raise Violation(f"{history.device} says {result.state} of command {result.id}, which nobody asked for")
            self.ended.setdefault(result.id, set()).add(result.state)
            before = history.commands.get(result.id)
            if before not in (None, result.state):
                raise Violation(f"{history.device} says {result.state} of command {result.id}, before it said {before}")
            history.commands[result.id] = result.state
            row = self.asked[result.id]
            if before is None and row.name == "label" and result.state == DONE:
                given = json.loads(row.arguments)
                history.labelled_from_afar(row.id, given["window"], classes.index(given["class"]))

    def check_rest(self, store: ServerStore) -> None:
        """What the server shows is what a device has said; only its own deadline needs nobody. Raises Violation."""
        for row in store.rows(DEVICE_COMMANDS).all():
            if row.state != EXPIRED and row.state not in self.ended.get(row.id, ()):
                raise Violation(f"command {row.name} of {row.device} is shown as {row.state}; no device has said so")


def open_commands(store: ServerStore) -> list[CommandRow]:
    """Commands that have not ended."""
    return [row for state in OPEN for row in store.rows(DEVICE_COMMANDS).where(state=state)]
