"""Where a fleet's store is: in a state folder, or where the configuration file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from aggregator.store import DATABASE, STATE_DIR, sqlite_url
from headway.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from aggregator.config import Settings
    from aggregator.store import ReadableStore
    from aggregator.store.sql import SqlStore


class Closable(Protocol):
    """A store of any kind."""

    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=Closable)


@dataclass(frozen=True, slots=True)
class Place:
    """As given on the command line: ``--config`` and ``--state-dir``, which wins over the file's."""

    config: Path | None
    state_dir: str | None

    def settings(
        self,
        bundle: str | None,
        fleet: str | None,
        host: str | None,
        port: int | None,
        method: str | None,
        publish_interval_s: float | None,
        kind: str | None = None,
        address: str | None = None,
    ) -> Settings:
        """The configuration file, or options alone; an option that is given wins over the file. Raises ConfigError."""
        if self.config is None and (bundle is None or fleet is None):
            raise ConfigError("give --config FILE, or at least --bundle FILE and --fleet NAME")
        given = {
            ("fleet", "name"): fleet,
            ("bundle", "path"): None if bundle is None else str(Path(bundle).absolute()),
            ("storage", "state_dir"): self._given_state_dir or (STATE_DIR if self.config is None else None),
            ("mqtt", "host"): host,
            ("mqtt", "port"): port,
            ("publish", "method"): method,
            ("publish", "interval_s"): publish_interval_s,
            ("engine", "kind"): kind,
            ("engine", "address"): address,
        }
        return _read(self.config, {place: value for place, value in given.items() if value is not None})

    def configured(self) -> Settings:
        """The configuration file, which commands that act for the fleet need. Raises ConfigError."""
        if self.config is None:
            raise ConfigError("give --config FILE, the aggregator.toml of the fleet")
        given = {} if self._given_state_dir is None else {("storage", "state_dir"): self._given_state_dir}
        return _read(self.config, given)

    def folder(self) -> Path:
        """The state folder of the service."""
        return self._url_and_folder()[1]

    def store(self) -> SqlStore:
        """The store of a service that has run, wherever it is configured to be. Raises StoreError, ConfigError."""
        from aggregator.store.sql import SqlStore

        url, folder = self._url_and_folder()
        if not url and not (folder / DATABASE).exists():
            raise StoreError(f"no aggregator has stored anything in {folder}; give --state-dir or --config")
        return until_the_end(SqlStore(url or sqlite_url(folder)))

    def store_to_read(self) -> ReadableStore:
        """The same for who only looks at devices, all of which have their row in it: without SQLAlchemy where it can
        do without."""
        from aggregator.store.sqlite_reader import opened

        url, folder = self._url_and_folder()
        found = None if url else opened(folder / DATABASE)
        if found is not None:
            return until_the_end(found)
        from aggregator.registry import backfill

        store = self.store()
        with store.transaction():
            backfill(store)
        return store

    def database_file(self) -> Path:
        """The file of the store, which need not exist. Raises ConfigError when the store is no file of SQLite."""
        from aggregator.backup import file_of

        url, folder = self._url_and_folder()
        return file_of(url or sqlite_url(folder))

    @property
    def fleet(self) -> str:
        """Name of the fleet, where there is a configuration; else ''."""
        return "" if self.config is None else self.configured().fleet

    def made_store(self) -> SqlStore:
        """The store that the configuration names, made if need be. Raises StoreError, ConfigError."""
        from aggregator.store.sql import SqlStore

        return until_the_end(SqlStore(self.configured().database))

    @property
    def _given_state_dir(self) -> str | None:
        """On the command line: it counts from where the command runs."""
        return str(Path(self.state_dir).absolute()) if self.state_dir else None

    def _url_and_folder(self) -> tuple[str, Path]:
        """URL of the database ('' for the default one), and the state folder."""
        if self.config is None:
            return "", Path(self.state_dir or STATE_DIR)
        given = {} if self._given_state_dir is None else {("storage", "state_dir"): self._given_state_dir}
        settings = _read(self.config, given)
        return settings.database_url, settings.state_dir


def until_the_end(store: Opened) -> Opened:
    """A store that is closed when the command that opened it is over, however it ends."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(store.close)
    return store


def _read(config: Path | None, given: Mapping[tuple[str, str], object]) -> Settings:
    """`read_settings`, which takes a while to load: a command on a state folder has no use for it."""
    from aggregator.config import read_settings

    return read_settings(config, given)
