"""After an outage a whole fleet of many features reports at once: bounded memory, and every report is acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.store import sqlite_url
from aggregator.store.sql import SqlStore
from benchmarks.restart import CLASSES, FLEET, LABELS, retain, start
from headway.wire import StatisticsReport
from headway_simulation.model import Model
from testbed.broker import Broker

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.slow]
DEVICES, FEATURES, PEAK_MB_MAX = 200, 321, 200


def test_large_reports_of_many_devices_at_once(tmp_path: Path) -> None:
    """200 reports of 321 features wait at the broker, several times what the service may hold here."""
    variant = Model(FEATURES, CLASSES).variant
    variant.write(tmp_path / "plant.hwb")
    with Broker() as broker:
        retain(broker, variant, DEVICES)
        config = tmp_path / "aggregator.toml"
        config.write_text(
            f'[fleet]\nname = "{FLEET}"\n[bundle]\npath = "plant.hwb"\n[storage]\nstate_dir = "{tmp_path}"\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[service]\nqueue_bytes_max = 1048576\n'
        )
        found = start(config, broker, DEVICES)
    assert found.peak_mb < PEAK_MB_MAX
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        rows = list(store.every_statistics(variant.space))
        head = store.head(variant.space)
    store.close()
    assert len({row.device for row in rows}) == DEVICES
    samples = sum(StatisticsReport.decode_stored(row.payload).statistics.samples for row in rows)
    assert samples == DEVICES * LABELS
    assert head is not None
