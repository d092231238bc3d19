"""Commands to a device as people see them, and what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aggregator.store.rows import CommandRow

DIAGNOSTICS = "diagnostics"
SHOWN_MAX = 20
TONES = {"done": "good", "failed": "bad", "expired": "warn"}
CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Button:
    """A command that the page offers. question: asked before; count: whether it takes a number of windows."""

    name: str
    words: str
    doc: str
    question: str = ""
    count: bool = False


BUTTONS = (
    Button("sync-now", "Sync now", "Report now, and fetch what waits."),
    Button("train-now", "Train now", "Learn labels that wait, whatever the policy says."),
    Button("ask-for-labels", "Ask for labels", "Name the windows that it is least sure of.", count=True),
    Button(DIAGNOSTICS, "Diagnostics", "Send log lines, condition and settings, without secrets."),
    Button("restart", "Restart", "Restart the agent. Nothing is lost.", "Restart the agent on this device?"),
)


@dataclass(frozen=True, slots=True)
class AskedCommand:
    """One command. id: of it; came: what came of it, as pairs; report: diagnostics, as sections of pairs or lines."""

    id: str
    name: str
    arguments: str
    who: str
    asked_s: float
    deadline_s: float
    state: str
    since_s: float
    came: str
    report: tuple[tuple[str, str], ...]

    @property
    def tone(self) -> str:
        return TONES.get(self.state, "quiet")


def diagnostics_file(rows: list[CommandRow], command: str) -> bytes | None:
    """The diagnostics that a command brought, as the device sent them, as an indented JSON text; None without any."""
    for row in rows:
        if row.id == command and row.name == DIAGNOSTICS and row.state == "done":
            return json.dumps(json.loads(row.detail), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return None


def asked_commands(rows: list[CommandRow]) -> tuple[AskedCommand, ...]:
    """The newest first."""
    return tuple(_asked(row) for row in sorted(rows, key=lambda row: -row.number)[:SHOWN_MAX])


def _asked(row: CommandRow) -> AskedCommand:
    detail, arguments = json.loads(row.detail), json.loads(row.arguments)
    report = _report(detail) if row.name == DIAGNOSTICS and row.state == "done" and isinstance(detail, dict) else ()
    return AskedCommand(
        row.id, row.name, _pairs(arguments), row.who.removeprefix("user:"), row.created_s, row.deadline_s, row.state,
        row.since_s, "" if report else _pairs(detail), report,
    )  # fmt: skip


def _pairs(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)[:CHARACTERS_MAX]
    return ", ".join(f"{key}: {_short(each)}" for key, each in value.items())[:CHARACTERS_MAX]


def _short(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value)} ({', '.join(map(str, value[:3]))}{', …' if len(value) > 3 else ''})"
    return value if isinstance(value, str) else json.dumps(value)


def _report(detail: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name and text of each section, the log last."""
    found = []
    for name, value in sorted(detail.items(), key=lambda pair: pair[0] == "log"):
        if isinstance(value, list):
            text = "\n".join(map(str, value))
        elif isinstance(value, dict):
            text = "\n".join(
                f"{key}: {each if isinstance(each, str) else json.dumps(each)}" for key, each in value.items()
            )
        else:
            text = str(value)
        found.append((name, text))
    return tuple(found)
