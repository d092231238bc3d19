"""Commands to devices: asked for, sent to those that know them, with a result or an end at their deadline."""

from aggregator.remote_commands.asking import (
    ARGUMENTS,
    OPEN_MAX,
    Asking,
    ask,
    ask_many,
    asked_together,
    commands_of,
    supported_by,
)
from aggregator.remote_commands.remote_commands import RemoteCommands
from aggregator.remote_commands.states import ASKED, OPEN, SENT

__all__ = [
    "ARGUMENTS",
    "ASKED",
    "OPEN",
    "OPEN_MAX",
    "SENT",
    "Asking",
    "RemoteCommands",
    "ask",
    "ask_many",
    "asked_together",
    "commands_of",
    "supported_by",
]
