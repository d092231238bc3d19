"""The program ``edge-convert``: convert a model, inspect a bundle, verify a bundle, make signing keys."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from headway.errors import ConfigError
from headway.extras import missing_extra


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code (see headway.errors for the families)."""
    try:
        from converter.commands import edge_convert
        from headway.command_line import run
    except ModuleNotFoundError as error:
        print(f"error: {missing_extra(error, 'converter')}", file=sys.stderr)
        return ConfigError.exit_code
    return run(edge_convert, "edge-convert", "converter", arguments)


if __name__ == "__main__":
    sys.exit(main())
