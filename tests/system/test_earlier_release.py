"""An agent of release 0.2 and today's server, and the reverse: real programs, every label counted once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.broker import Broker, die_with_parent
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import data
from tests.system.test_fleet import heads_of, solved_in_one_place

pytestmark = [pytest.mark.system, pytest.mark.broker]
RELEASE = Path(__file__).parents[1] / "golden" / "releases" / "headway-0.2.0.zip"
LABELS = 40
GRADIENT = '[learner]\nkind = "gradient"\nupdate_labels = 8\n'
NewDevice = Callable[..., Device]


def of_release(program: str) -> list[str]:
    """A command of that release; nothing of today's packages is imported."""
    code = f"import sys; sys.path.insert(0, {str(RELEASE)!r}); from {program}.cli import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code]


@dataclass
class EarlierDevice(Device):
    """The same folders, run by the agent of that release."""

    def start(self) -> None:
        command = [*of_release("edge_agent"), "--log-level", "warning", "run", str(self.config)]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, text=True, preexec_fn=die_with_parent)


@dataclass
class Serving:
    """How a server is started: today's, or that of the release."""

    folder: Path
    bundle: Path
    running: list[subprocess.Popen[bytes]]

    def start(self, program: list[str], broker: Broker, method: str) -> None:
        config, state = self.folder / "aggregator.toml", self.folder / f"server-{len(self.running)}"
        config.write_text(
            f'[fleet]\nname = "test"\n[bundle]\npath = "{self.bundle}"\n[storage]\nstate_dir = "{state}"\n'
            f'[publish]\ninterval_s = 0.1\nmethod = "{method}"\n[averaging]\nround_s = 0.5\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        with (self.folder / "server.log").open("ab") as log:
            command = [*program, "serve", "--config", str(config)]
            self.running.append(subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent))


@pytest.fixture
def server(tmp_path: Path, bundle: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path, bundle, [])
    yield serving
    for process in serving.running:
        process.kill()
        process.wait()


def taught(device: Device, seed: int) -> tuple[object, object]:
    """A file with labels, once the agent runs."""
    x, y = data(LABELS, seed=seed)
    device.start()
    device.drop("taught", x=x, y=y)
    wait_until(lambda: "taught" in device.answers(), "the answers")
    return x, y


PAIRS = {
    "an earlier agent, today's server": (EarlierDevice, [str(BIN / "edge-fleet")]),
    "today's agent, an earlier server": (Device, of_release("aggregator")),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_labels_of_one_release_are_in_the_head_of_the_other_to_the_bit(
    new_device: NewDevice, server: Serving, fresh_broker: Broker, bundle: Path, pair: str
) -> None:
    kind, program = PAIRS[pair]
    server.start(program, fresh_broker, "exact")
    made = new_device("pump", fresh_broker)
    device = kind(made.folder, made.config)
    with heads_of(fresh_broker) as head:
        try:
            x, y = taught(device, seed=8)
            wait_until(lambda: (newest := head()) is not None and newest.samples == LABELS, "the head of all labels")
        finally:
            device.kill()
        newest = head()
    assert newest is not None
    assert newest.head.kernel.tobytes() + newest.head.bias.tobytes() == solved_in_one_place(bundle, x, y)  # type: ignore[arg-type]


def test_updates_of_an_earlier_agent_are_averaged(new_device: NewDevice, server: Serving, fresh_broker: Broker) -> None:
    server.start([str(BIN / "edge-fleet")], fresh_broker, "average")
    made = new_device("pump", fresh_broker, extra=GRADIENT)
    device = EarlierDevice(made.folder, made.config)
    with heads_of(fresh_broker) as head:
        try:
            taught(device, seed=9)
            wait_until(lambda: (newest := head()) is not None and newest.samples > 0, "a head of updates")
        finally:
            device.kill()


def test_updates_that_an_earlier_server_refuses_wait_for_a_newer_one(
    new_device: NewDevice, server: Serving, fresh_broker: Broker
) -> None:
    server.start(of_release("aggregator"), fresh_broker, "average")
    device = new_device("pump", fresh_broker, extra=GRADIENT)
    with heads_of(fresh_broker) as head:
        taught(device, seed=9)
        log = server.folder / "server.log"
        wait_until(lambda: "malformed" in log.read_text(), "the refusal")
        assert head() is None
        server.running[-1].kill()
        server.running[-1].wait()
        server.start([str(BIN / "edge-fleet")], fresh_broker, "average")
        wait_until(lambda: (newest := head()) is not None and newest.samples == LABELS, "a head of what had waited")
