"""How long a setting takes from the operator's command to the device's answer: real programs, a real broker.

    python -m benchmarks.configuration [--rounds 40]

Each round asks for another reporting interval in the store of the running aggregator, as `edge-fleet configure` does,
and waits until the device has answered that it holds. It needs mosquitto, and makes a tiny bundle with TensorFlow.
"""

from __future__ import annotations

import time

from aggregator.store.rows import DEVICE as OF_A_DEVICE
from aggregator.store.rows import SETTINGS_STATES
from aggregator.store.sql import SqlStore
from aggregator.twins import change_settings
from benchmarks.one_device import DEVICE, timed, wait_for
from headway.wire import ConfigurationState

SETTING = "sync.interval_s"


def main() -> None:
    timed(__doc__, "changes", lambda store: _interval_s(store) is not None, _one_change)


def _one_change(store: SqlStore, number: int) -> float:
    began_s, interval_s = time.monotonic(), 10 + number
    with store.transaction():
        change_settings(store, OF_A_DEVICE, DEVICE, {SETTING: interval_s}, (), time.time())
    wait_for(lambda: _interval_s(store) == interval_s)
    return time.monotonic() - began_s


def _interval_s(store: SqlStore) -> object:
    """As the device told last; None before it has."""
    with store.reading():
        row = store.rows(SETTINGS_STATES).get(DEVICE)
    return None if row is None else ConfigurationState.decode(row.payload).values[SETTING]


if __name__ == "__main__":
    main()
