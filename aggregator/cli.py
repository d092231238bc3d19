"""The program ``edge-fleet``: run the aggregator, list devices, remove a device's contribution, deliver bundles."""

from __future__ import annotations

import os

# one thread for the small matrices of a head: the same bits on every machine, whatever its cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Sequence

from headway.errors import ConfigError
from headway.extras import missing_extra
from headway.garbage import seldom_look_for_garbage


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code (see headway.errors for the families)."""
    seldom_look_for_garbage()
    try:
        from aggregator.commands import edge_fleet
        from headway.command_line import run
    except ModuleNotFoundError as error:
        print(f"error: {missing_extra(error, 'aggregator')}", file=sys.stderr)
        return ConfigError.exit_code
    return run(edge_fleet, "edge-fleet", "aggregator", arguments, debug_option="--log-level debug")


if __name__ == "__main__":
    sys.exit(main())
