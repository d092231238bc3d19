"""Reads the URL of a database, and says where that is without the secrets that may stand in it."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from headway.errors import ConfigError

HELP = (
    "write postgresql://USER:PASSWORD@HOST/NAME, and in a password %40 for @, %2F for /, %3A for : and %25 for %, or "
    "leave it out and use a password file (PGPASSFILE, or ?passfile=FILE)"
)


def address_of(url: str) -> URL:
    """Raises ConfigError for what is no such URL; neither it nor anything from within it is in the message."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # the latter where a piece of a password is taken for a port
        raise ConfigError(f"[storage] database_url is no URL of a database; {HELP}") from None
    if "@" in (address.host or ""):
        raise ConfigError(f"[storage] database_url has more than one @; {HELP}")
    return address


def shown(address: URL) -> str:
    """Host and name: of user, password and options nothing."""
    port = "" if address.port is None else f":{address.port}"
    return f"{address.host or ''}{port}/{address.database or ''}"
