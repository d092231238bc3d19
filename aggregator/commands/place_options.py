"""The options that every command has that looks into the store: where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from aggregator.store import STATE_DIR
from headway.command_line import file_path, option


def with_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--state-dir``, as the arguments of `Place`."""
    config = option("--config", group="Place", type=file_path(), metavar="FILE", help="aggregator.toml")
    state_dir = option(
        "--state-dir", group="Place", type=click.Path(), metavar="DIR", default_elsewhere=STATE_DIR,
        help="Where the store is",
    )  # fmt: skip
    made: Callable[..., Any] = config(state_dir(command))
    return made
