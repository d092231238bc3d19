"""Reads the TOML file that says how a bundle's windows are cut from raw rows."""

from __future__ import annotations

from pathlib import Path

from headway.errors import ConfigError, LocalError
from headway.fields import Fields
from headway.settings import read_toml
from headway.stream import StreamFormat


def read_stream(file: Path) -> StreamFormat:
    """The keys of docs/bundle-format.md, Streams, at the top of the file. Raises ConfigError."""
    fields = Fields(read_toml(file), file.name, ConfigError)
    try:
        return StreamFormat.read(fields)
    except LocalError as error:
        raise ConfigError(f"{file.name}: {error}") from error
