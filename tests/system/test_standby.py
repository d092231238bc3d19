"""Two servers on one PostgreSQL: one serves, one stands by, and no report is lost or doubled when the first is gone."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, text

from aggregator.store.engine import READING, open_engine
from aggregator.store.sql import SqlStore
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle.variant import read_variant
from headway.errors import StoreError, TransportError
from headway.maths.statistics import Statistics
from headway.wire.messages import StatisticsReport
from testbed.broker import Broker, die_with_parent
from testbed.postgresql import Postgresql
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_fleet import heads_of, solved_in_one_place

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
TAKE_OVER_S = 10.0


class Server:
    """A server's folder and its process."""

    def __init__(self, folder: Path, bundle: Path, broker: Broker, url: str) -> None:
        folder.mkdir()
        self.config, self.log = folder / "aggregator.toml", folder / "log"
        self.config.write_text(
            f'[fleet]\nname = "test"\n[bundle]\npath = "{bundle}"\n[publish]\ninterval_s = 0.1\n'
            f'[storage]\nstate_dir = "state"\ndatabase_url = {json.dumps(url)}\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\nreconnect_max_s = 0.5\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, word: str) -> None:
        """Returns when its log says `word`."""
        command = [str(BIN / "edge-fleet"), "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.wait_for(word)

    def wait_for(self, word: str) -> None:
        wait_until(lambda: word in self.log.read_text(), f"{word!r} in the log of {self.log.parent.name}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture
def servers(tmp_path: Path, bundle: Path, fresh_broker: Broker, postgresql: Postgresql) -> Iterator[list[Server]]:
    url = postgresql.new_database()
    made = [Server(tmp_path / f"server-{number}", bundle, fresh_broker, url) for number in (1, 2)]
    yield made
    for server in made:
        if server.process is not None:
            with contextlib.suppress(ProcessLookupError):
                server.process.kill()
            server.process.wait()


def url_of(server: Server) -> str:
    (line,) = [line for line in server.config.read_text().splitlines() if line.startswith("database_url")]
    url: str = json.loads(line.split(" = ", 1)[1])
    return url


def test_the_second_takes_over_when_the_first_is_killed(
    servers: list[Server], new_device: NewDevice, fresh_broker: Broker, bundle: Path
) -> None:
    first, second = servers
    first.start(" serving, boot 1")
    second.start("another service runs on this database; standing by")
    devices = [new_device(f"d{number}", fresh_broker) for number in range(3)]
    x, y = data(3 * 32, seed=9)
    shares = np.array_split(np.arange(len(x)), 3)
    for device in devices:
        device.start()

    def feed(step: int) -> None:
        for device, share in zip(devices, shares, strict=True):
            rows = share[step * 8 : step * 8 + 8]
            device.drop(f"s{step}", x=x[rows], y=y[rows])

    with heads_of(fresh_broker) as head:

        def counted() -> int:
            found = head()
            return 0 if found is None else found.samples

        feed(0)
        wait_until(lambda: counted() == 24, "24 samples")
        feed(1)
        # reports may be on their way, in a transaction or answered
        first.kill()
        killed_s = time.monotonic()
        feed(2)
        second.wait_for(" serving, boot 2")
        assert time.monotonic() - killed_s < TAKE_OVER_S
        wait_until(lambda: counted() == 72, "72 samples after the first server was killed")
        first.start("another service runs on this database; standing by\n")
        feed(3)
        wait_until(lambda: counted() == 96, "all 96 samples")
        found = head()
    assert found is not None
    assert (found.samples, found.devices) == (96, 3)
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(bundle, x, y)
    verified = subprocess.run(
        [str(BIN / "edge-fleet"), "verify", "--config", str(second.config)], capture_output=True, text=True, check=True
    )
    assert "3 stored reports" in verified.stdout
    variant = read_variant(bundle)
    codes = Pipeline(variant, open_runtime(variant)).features(x).codes
    assert stored_tables(url_of(first), bundle).same_sums(Statistics.of(codes, y, CLASSES, variant.space))


def stored_tables(url: str, bundle: Path) -> Statistics:
    """The sum of what the database holds of every device."""
    variant, store = read_variant(bundle), SqlStore(url)
    total = Statistics.zeros(variant.training_statistics.size, CLASSES, variant.space)
    with store.transaction():
        for row in store.every_statistics(variant.space):
            total += StatisticsReport.decode_stored(row.payload).statistics
    store.close()
    return total


def sessions(connection: Connection) -> list[int]:
    """Process ids of the server's sessions on this database, without this one and PostgreSQL's own (autovacuum)."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() "
        "AND backend_type = 'client backend'"
    )
    return [row[0] for row in connection.execute(text(query))]


def test_a_server_that_is_cut_off_from_its_database_stops_and_publishes_nothing(
    servers: list[Server], fresh_broker: Broker
) -> None:
    """It does not run while its sessions end and another takes its place, as if its machine had been suspended."""
    first, second = servers
    first.start(" serving, boot 1")
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    engine = open_engine(url_of(first))
    try:
        # it may have been stopped within a transaction, for whose lock only a reading one does not wait
        with engine.execution_options(**{READING: True}).begin() as connection:
            ended = [
                connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid}).scalar()
                for pid in sessions(connection)
            ]
        assert ended == [True, True]  # the lock's, and the store's
        second.start(" serving, boot 2")
    finally:
        first.process.send_signal(signal.SIGCONT)
        engine.dispose()
    assert first.process.wait(TAKE_OVER_S) in (StoreError.exit_code, TransportError.exit_code)
    assert " head " not in first.log.read_text()
    assert second.process is not None
    assert second.process.poll() is None


def test_the_second_on_a_file_is_refused_in_one_line(tmp_path: Path, bundle: Path, fresh_broker: Broker) -> None:
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    first, second = (Server(tmp_path / name, bundle, fresh_broker, url) for name in ("one", "two"))
    first.start(" serving, boot 1")
    try:
        command = [str(BIN / "edge-fleet"), "serve", "--config", str(second.config)]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=30)
    finally:
        first.kill()
    assert refused.returncode == StoreError.exit_code
    (line,) = refused.stderr.splitlines()
    assert "another aggregator serves" in line
