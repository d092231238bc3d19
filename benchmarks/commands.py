"""How long a command takes from the operator to the result that the device has saved: real programs, a real broker.

    python -m benchmarks.commands [--rounds 40]

Each round asks for one command in the store of the running aggregator, as `edge-fleet command` does, and waits for its
result there. It needs mosquitto, and makes a tiny bundle with TensorFlow.
"""

from __future__ import annotations

import time

from aggregator.remote_commands import OPEN, ask, supported_by
from aggregator.store.rows import DEVICE_COMMANDS
from aggregator.store.sql import SqlStore
from benchmarks.one_device import DEVICE, timed, wait_for

NAMES = ("sync-now", "diagnostics", "ask-for-labels")
LASTS_S = 60.0


def main() -> None:
    timed(__doc__, "commands", _takes_commands, _one_command)


def _takes_commands(store: SqlStore) -> bool:
    with store.reading():
        return supported_by(store, DEVICE) is not None


def _one_command(store: SqlStore, number: int) -> float:
    began_s = time.monotonic()
    with store.transaction():
        asked = ask(store, DEVICE, NAMES[number % len(NAMES)], {}, "local:benchmark", time.time(), LASTS_S)

    def ended() -> bool:
        with store.reading():
            row = store.rows(DEVICE_COMMANDS).get(DEVICE, asked.id)
        return row is not None and row.state not in OPEN

    wait_for(ended)
    return time.monotonic() - began_s


if __name__ == "__main__":
    main()
