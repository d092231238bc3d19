"""The options of commands that look at a fleet: where its store is on this machine, or which server to ask instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aggregator.commands.place import Place
from aggregator.store import STATE_DIR
from headway.clocks import SystemClock
from headway.command_line import file_path, option
from headway.errors import ConfigError

if TYPE_CHECKING:
    from aggregator.reach import Fleet, Look, RemoteFleet

TOKEN_BYTES_MAX = 4096
# where what was given before the command lies in click's context
SERVER = "aggregator.commands.server"


@dataclass(frozen=True, slots=True)
class Server:
    """Another server, as given before the command: ``--server``, ``--token-file``, ``--ca-file``."""

    url: str
    token_file: Path | None
    ca_file: Path | None

    def token(self) -> str:
        """What the file holds. Raises ConfigError."""
        if self.token_file is None:
            raise ConfigError("--server needs --token-file FILE, with a token of edge-fleet tokens create in it")
        try:
            with self.token_file.open() as file:
                token = file.read(TOKEN_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file {self.token_file}: {getattr(error, 'strerror', None) or error}") from error
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(
                f"--token-file {self.token_file} holds no token; put in what edge-fleet tokens create said"
            )
        return token


def with_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--state-dir``, as the arguments of `Place`."""
    config = option("--config", group="Place", type=file_path(), metavar="FILE", help="aggregator.toml")
    state_dir = option(
        "--state-dir", group="Place", type=click.Path(), metavar="DIR", default_elsewhere=STATE_DIR,
        help="Where the store is",
    )  # fmt: skip
    made: Callable[..., Any] = config(state_dir(command))
    return made


def reached(config: Path | None, state_dir: str | None, *, first: bool = False) -> Fleet:
    """The fleet that a command asks: of the server that was given before it, else of this machine.

    first: the store need not be there yet. Raises ConfigError where both are given.
    """
    place = Place(config, state_dir)
    elsewhere = _elsewhere(place)
    if elsewhere is not None:
        return elsewhere
    from aggregator.reach import LocalFleet

    open_store = place.made_store if first else place.store
    return LocalFleet(open_store, place.configured, place.folder, SystemClock())


def looked_at(config: Path | None, state_dir: str | None) -> Look:
    """The same for a command that only lists devices."""
    place = Place(config, state_dir)
    elsewhere = _elsewhere(place)
    if elsewhere is not None:
        return elsewhere
    from aggregator.reach import LocalLook

    return LocalLook(place.store_to_read, SystemClock())


def server_elsewhere(config: Path | None, state_dir: str | None) -> RemoteFleet | None:
    """The fleet of the server that was given before the command; none for this machine. Raises ConfigError."""
    return _elsewhere(Place(config, state_dir))


def _elsewhere(place: Place) -> RemoteFleet | None:
    server = click.get_current_context().meta.get(SERVER)
    if not isinstance(server, Server):
        return None
    if place.config is not None or place.state_dir is not None:
        raise ConfigError("give either --server, or --config and --state-dir of this machine")
    from aggregator.reach import RemoteFleet

    return RemoteFleet(server.url, server.token(), server.ca_file)
