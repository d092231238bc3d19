"""Simulates an operator who gives devices commands while everything fails, and remembers what came of each."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from aggregator.inbox import ActState, LabelAct, say
from aggregator.remote_commands import OPEN, ask
from aggregator.store.rows import DEVICE_COMMANDS, LABEL_ACTS, CommandRow
from edge_agent.store import COMMANDS
from edge_agent.sync import CommandLog
from headway.errors import ConfigError, StoreError
from headway.samples import UNLABELLED
from headway.wire import DONE, EXPIRED
from headway_simulation.history import History, Turn, Violation
from headway_simulation.server_disk import ServerStore

# drawn with these weights: labels and starts are what could be done twice
NAMES = ("label",) * 4 + ("restart", "ask-for-labels", "train-now", "sync-now")
SECONDS = (300.0, 3600.0, 86_400.0)
# the one command that nobody asks for: what, and in whose name
RENEWS = "renew-prior", "service:forget"
# of labels, what is said in the inbox; the others are asked for as commands
SAID = (LabelAct.LABEL, LabelAct.LABEL, LabelAct.UNDO, LabelAct.SKIP)
IN_THE_INBOX = 0.5
# for so long the server may not have noted how an act ended
SETTLES_S = 120.0


@dataclass(slots=True)
class Operator:
    """asked: every command by its id; ended: what devices have durably said of it, by id."""

    asked: dict[str, CommandRow] = field(default_factory=dict)
    ended: dict[str, set[str]] = field(default_factory=dict)

    def ask(self, store: ServerStore, device: str, window: str, label: str, chance: random.Random, now_s: float) -> str:
        """Ask the device for something, if the server's disk takes it; returns what. window, label: for a label."""
        name, seconds = chance.choice(NAMES), chance.choice(SECONDS)
        arguments = {"window": window, "class": label} if name == "label" else {}
        said = chance.choice(SAID) if name == "label" and chance.random() < IN_THE_INBOX else None
        try:
            with store.transaction():
                if said is None:
                    found = ask(store, device, name, arguments, "operator", now_s, seconds)
                    row: CommandRow | None = found
                else:
                    given = label if said is LabelAct.LABEL else ""
                    act = say(store, device, window, said, given, "operator", now_s)
                    row = store.rows(DEVICE_COMMANDS).get(device, act.command)
        except (StoreError, ConfigError) as error:
            return f"{said or name}, which is refused: {error}"
        if row is not None:
            self.asked[row.id] = row
        return f"{name} by {said} in the inbox" if said is not None else name

    def note_of_service(self, store: ServerStore) -> None:
        """Something was removed: the server itself has devices renew a prior that may hold it."""
        every = store.rows(DEVICE_COMMANDS).all()
        self.asked.update({row.id: row for row in every if (row.name, row.who) == RENEWS})

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
            if before is None and (row.name, row.who) == RENEWS and result.state == DONE:
                history.course.append(Turn.RENEWED)
            if before is None and row.name in ("label", "undo-label") and result.state == DONE:
                given = json.loads(row.arguments)
                label = classes.index(given["class"]) if row.name == "label" else UNLABELLED
                history.labelled_from_afar(row.id, given["window"], label)

    def check_rest(self, store: ServerStore, now_s: float) -> None:
        """What the server shows is what a device has said; only its own deadline needs nobody. Raises Violation."""
        for row in store.rows(DEVICE_COMMANDS).all():
            if row.state != EXPIRED and row.state not in self.ended.get(row.id, ()):
                raise Violation(f"command {row.name} of {row.device} is shown as {row.state}; no device has said so")
        for act in store.rows(LABEL_ACTS).all():
            command = store.rows(DEVICE_COMMANDS).get(act.device, act.command)
            ended = command is not None and command.state not in OPEN and now_s - command.since_s > SETTLES_S
            if ended and act.state == ActState.ASKED:
                raise Violation(f"{act.act} of {act.window} of {act.device} is on its way, but its command has ended")
            label = command is not None and command.name in ("label", "undo-label")
            if label and act.state == ActState.DONE and command is not None and command.state != DONE:
                raise Violation(f"{act.act} of {act.window} of {act.device} is done; its command {command.state}")


def open_commands(store: ServerStore) -> list[CommandRow]:
    """Commands that have not ended."""
    return [row for state in OPEN for row in store.rows(DEVICE_COMMANDS).where(state=state)]
