"""What a fleet or a device may be called: a name is a level of a topic."""

from __future__ import annotations

import re

from headway.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_name(text: str, what: str) -> str:
    """A fleet or device name fit for a topic level. Raises ConfigError with the rule."""
    if not NAME.fullmatch(text):
        raise ConfigError(
            f"{what} {text[:200]!r} is not a valid name; use 1 to 64 letters, digits, '.', '_' or '-', "
            "starting with a letter or digit"
        )
    return text
