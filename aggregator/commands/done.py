"""What an act of ``edge-fleet`` says when it is done: a line for people or, with ``--json``, an object for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from headway.command_line import option
from headway.fields import JsonValue, json_line
from headway.printable import printable_lines

# where --json lies in click's context
AS_JSON = "aggregator.commands.as_json"


def with_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``, which `say` follows; no argument of the command."""
    flag = option(
        "--json", "as_json", is_flag=True, expose_value=False, callback=_note, help="Print JSON instead of words"
    )
    made: Callable[..., Any] = flag(command)
    return made


def say(words: str, **facts: JsonValue) -> None:
    """Print `words`, or with ``--json`` the facts of the act as one object. Once for each command."""
    if wants_json():
        print(json_line(facts), flush=True)
    else:
        print(printable_lines(words), flush=True)


def wants_json() -> bool:
    """Whether the command that runs was given ``--json``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(AS_JSON))


def _note(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    context.meta[AS_JSON] = value
    return value
