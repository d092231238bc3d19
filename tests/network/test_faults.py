"""Real network faults between real programs: nothing lost, nothing counted twice, and a bundle gets through."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.bundle.variant import TrainingRows, read_variant
from headway.wire.messages import PublishedHead
from testbed.broker import die_with_parent
from testbed.mosquitto import find_or_fetch
from tests.network.namespaces import DEVICE, SERVER, Cable, why_not
from tests.system.conftest import BIN, bundle, wait_until
from tests.system.make_model import data
from tests.system.test_fleet import solved_in_one_place

__all__ = ["bundle"]

REASON = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.broker,
    pytest.mark.skipif(bool(REASON), reason=REASON or "namespaces work"),
]

PORT, PROXY_PORT = 1883, 1884
MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
user root
log_dest file {folder}/mosquitto.log
"""
AGENT_TOML = """\
[device]
id = "far"
fleet = "net"
[bundle]
path = "{bundle}"
[storage]
state_dir = "state"
[sensor]
poll_interval_s = 0.1
[sync]
interval_s = 0.5
ack_timeout_s = 3
[delivery]
trial_s = 1
answer_timeout_s = 5
[mqtt]
host = "{host}"
port = {port}
keepalive_s = 5
reconnect_max_s = 1.0
"""


@dataclass
class Far:
    """Broker and aggregator at one end of the cable, an agent at the other."""

    folder: Path
    bundle: Path
    cable: Cable
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    files: int = 0

    def start(self, *, port: int = PORT) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(MOSQUITTO.format(port=PORT, host=SERVER, folder=self.folder))
        mosquitto = find_or_fetch()
        self._run(self.cable.server, str(mosquitto.program), "-c", str(config), environment=mosquitto.environment())
        place = ["--host", SERVER, "--port", str(PORT), "--fleet", "net", "--publish-interval", "0.2"]
        state = ["--bundle", str(self.bundle), "--state-dir", str(self.folder / "aggregator")]
        self._run(self.cable.server, str(BIN / "edge-fleet"), "serve", *place, *state)
        (self.folder / "spool").mkdir()
        agent = self.folder / "agent.toml"
        agent.write_text(AGENT_TOML.format(bundle=self.bundle, host=SERVER, port=port))
        self._run(self.cable.device, str(BIN / "edge-agent"), "run", str(agent))

    def delay(self, seconds: float) -> None:
        command = [sys.executable, "-m", "tests.network.delay_proxy", SERVER, str(PROXY_PORT), str(PORT), str(seconds)]
        self._run(self.cable.server, *command)

    def feed(self, x: np.ndarray, y: np.ndarray) -> None:
        self.files += 1
        part = self.folder / "spool" / f".{self.files:03d}.npz"
        np.savez(part, x=x, y=y)
        part.rename(part.with_name(f"{self.files:03d}.npz"))

    def head(self) -> PublishedHead | None:
        if not (self.folder / "aggregator" / "aggregator.sqlite").exists():
            return None
        store = SqlStore(sqlite_url(self.folder / "aggregator"))
        with store.transaction():
            row = store.head()
        store.close()
        return None if row is None else PublishedHead.decode(row.payload)

    def counted(self) -> int:
        head = self.head()
        return 0 if head is None else head.samples

    def fleet(self, *arguments: str) -> str:
        command = [str(BIN / "edge-fleet"), *arguments, "--state-dir", str(self.folder / "aggregator")]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def stop(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def _run(self, name: str, *command: str, environment: dict[str, str] | None = None) -> None:
        with (self.folder / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    self.cable.command(name, *command),
                    stdout=log,
                    stderr=log,
                    env=environment,
                    preexec_fn=die_with_parent,
                )
            )


@pytest.fixture
def far(tmp_path: Path, bundle: Path) -> Iterator[Far]:
    with Cable() as cable:
        made = Far(tmp_path, bundle, cable)
        try:
            yield made
        finally:
            made.stop()


def check(far: Far, x: np.ndarray, y: np.ndarray) -> None:
    """Everything is counted once: the head is the one that is solved in one place, bit for bit."""
    wait_until(lambda: far.counted() >= len(x), f"{len(x)} samples, {far.counted()} are counted")
    head = far.head()
    assert head is not None
    assert head.samples == len(x)
    assert head.head.kernel.tobytes() + head.head.bias.tobytes() == solved_in_one_place(far.bundle, x, y)


def in_parts(far: Far, x: np.ndarray, y: np.ndarray, between: Callable[[int], None] = lambda part: None) -> None:
    for part in range(0, len(x), 8):
        far.feed(x[part : part + 8], y[part : part + 8])
        between(part)


def test_thirty_percent_loss(far: Far) -> None:
    x, y = data(64, seed=31)
    with far.cable.loss(30):
        far.start()
        in_parts(far, x, y, lambda part: wait_until(lambda: far.counted() > part, f"more than {part} samples"))
        check(far, x, y)


def test_a_partition_heals(far: Far) -> None:
    x, y = data(48, seed=32)
    far.start()
    in_parts(far, x[:16], y[:16])
    wait_until(lambda: far.counted() == 16, "16 samples")
    with far.cable.partition():
        in_parts(far, x[16:], y[16:])
        answers = far.folder / "predictions"
        wait_until(lambda: len(list(answers.glob("*.npz"))) == 6, "predictions without a network")
        wait_until(lambda: "offline" in (far.folder / "log").read_text(), "the agent to notice")
        assert far.counted() == 16
    check(far, x, y)


def test_half_a_second_each_way(far: Far) -> None:
    x, y = data(32, seed=33)
    far.delay(0.5)
    far.start(port=PROXY_PORT)
    in_parts(far, x, y)
    check(far, x, y)


def test_a_bundle_through_a_slow_line_with_loss_and_a_partition(far: Far) -> None:
    """256 kbit/s, 5 % loss, and the line dead in the middle of the file: it goes on where it was."""
    x, y = data(32, seed=34)
    new = far.folder / "new.hwb"
    # evaluation windows make the file large enough to be cut in its middle
    rows = TrainingRows(*data(1500, seed=35))
    replace(read_variant(far.bundle), release=9, version="9.0.0", evaluation=rows).write(new)
    far.start()
    in_parts(far, x[:16], y[:16])
    wait_until(lambda: far.counted() == 16, "16 samples")

    def arrived() -> int:
        part = far.folder / "state" / "slots" / "a" / "bundle.part"
        return part.stat().st_size if part.exists() else 0

    def line() -> dict[str, str]:
        found: dict[str, str] = json.loads(far.fleet("deliveries", "--json"))[0]
        return found

    with far.cable.rate(256), far.cable.loss(5):
        far.fleet("deliver", str(new), "--devices", "far")
        wait_until(lambda: arrived() > 0, "the first range")
    with far.cable.partition():
        wait_until(lambda: "offline" in (far.folder / "log").read_text(), "the agent to notice")
        assert 0 < arrived() < new.stat().st_size
    with far.cable.rate(256), far.cable.loss(5):
        wait_until(lambda: line()["state"] == "there", "release 9 to be confirmed")
        in_parts(far, x[16:], y[16:])
        check(far, x, y)
    assert line()["runs"] == "9"


def test_the_addresses_are_those_of_the_namespaces_alone() -> None:
    shown = subprocess.run(["ip", "-4", "address"], capture_output=True, text=True, check=True).stdout
    assert SERVER not in shown
    assert DEVICE not in shown
