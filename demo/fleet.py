"""A real fleet on this machine: mosquitto, the aggregator, and one agent process per device."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo.watch import Windows
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Outgoing, Received, TransportEvent
from headway.wire import ALL, FROM_DEVICES, PREFIX, Kind, PublishedHead, Status, parse_topic, topic
from testbed.broker import Broker

FLEET = "demo"
STAGE_TIMEOUT_S = 60.0

AGENT_TOML = """\
[device]
id = "{device}"
fleet = "{fleet}"

[bundle]
path = "{bundle}"

[storage]
state_dir = "state"

[sensor]
spool_dir = "spool"
predictions_dir = "predictions"
poll_interval_s = 0.2

[sync]
interval_s = 0.5

[mqtt]
host = "{host}"
port = {port}
"""


class DemoError(Exception):
    """Something in the demo did not go as it must; the message says what."""


@dataclass(slots=True)
class Observer:
    """Watches the fleet's topics as any MQTT client could: counts bytes, keeps the newest head."""

    fleet: str
    bytes_sent: dict[str, int] = field(default_factory=dict)
    head: PublishedHead | None = None
    online: set[str] = field(default_factory=set)
    _events: queue.SimpleQueue[TransportEvent] = field(default_factory=queue.SimpleQueue)

    @contextlib.contextmanager
    def watching(self, host: str, port: int) -> Iterator[None]:
        will = Outgoing(topic(self.fleet, "observer", Kind.STATUS), Status(False, 0).encode())
        settings = MqttSettings(host=host, port=port, session_expiry_s=0)
        everything = (f"{PREFIX}/{self.fleet}/#",)
        transport = MqttTransport(settings, "demo-observer", everything, will, self._events.put)
        transport.start()
        try:
            yield
        finally:
            transport.stop()

    def look(self) -> None:
        """Take in what arrived since the last look."""
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, Received):
                    self._take(event)

    def _take(self, message: Received) -> None:
        address = parse_topic(message.topic)
        if address.kind is Kind.HEAD:
            self.head = PublishedHead.decode(message.payload)
        elif address.kind is Kind.STATUS and Status.decode(message.payload).online:
            self.online.add(address.device)
        if address.device != ALL and address.kind in FROM_DEVICES:
            size = len(message.topic.encode()) + len(message.payload)
            self.bytes_sent[address.device] = self.bytes_sent.get(address.device, 0) + size


@dataclass(slots=True)
class Device:
    """One agent process and its folders."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def feed(self, name: str, windows: Windows, *, labelled: bool) -> None:
        """Hand windows over through the spool, the way a sensor program does: write, then rename."""
        arrays = {"x": windows.x, "y": windows.y} if labelled else {"x": windows.x}
        part = self.folder / "spool" / f".{name}.part.npz"
        np.savez(part, **arrays)
        part.rename(self.folder / "spool" / f"{name}.npz")

    def answered(self, name: str) -> bool:
        return (self.folder / "predictions" / f"{name}.npz").exists()

    def predictions(self, name: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], str]:
        """The agent's answer to a file: classes int64 (n,), and the head that served its last row."""
        with np.load(self.folder / "predictions" / f"{name}.npz", allow_pickle=False) as answer:
            return answer["prediction"], str(answer["served_by"][-1])


class Fleet:
    """Starts everything, waits for it, and leaves no process behind."""

    def __init__(self, folder: Path, bundle: Path, names: list[str], say: Callable[[str], None]) -> None:
        self._folder, self._bundle, self._say = folder, bundle, say
        self.devices = [Device(name, folder / "devices" / name) for name in names]
        self.observer = Observer(FLEET)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Fleet:
        with contextlib.ExitStack() as stack:
            broker = stack.enter_context(Broker())
            self._say(f"mosquitto listens on {broker.host}:{broker.port}")
            stack.enter_context(self.observer.watching(broker.host, broker.port))
            stack.callback(self._stop)
            place = ["--host", broker.host, "--port", str(broker.port), "--fleet", FLEET]
            state = ["--bundle", str(self._bundle), "--state-dir", str(self._folder / "aggregator")]
            self._start("aggregator", ["edge-fleet", "serve", *place, *state, "--publish-interval", "0.5"])
            for device in self.devices:
                (device.folder / "spool").mkdir(parents=True)
                config = device.folder / "agent.toml"
                text = AGENT_TOML.format(
                    device=device.name, fleet=FLEET, bundle=self._bundle, host=broker.host, port=broker.port
                )
                config.write_text(text)
                self._start(device.name, ["edge-agent", "run", str(config)])
            self.wait("every device to come online", self._all_online)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until `done`; a program that died or a wait that takes too long is an error."""
        deadline = time.monotonic() + STAGE_TIMEOUT_S
        while True:
            self.observer.look()
            if done():
                return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise DemoError(f"{name} ended with exit code {process.returncode}:\n{self._log_tail(name)}")
            if time.monotonic() > deadline:
                raise DemoError(f"waited {STAGE_TIMEOUT_S:.0f} s for {what}")
            time.sleep(0.05)

    def aggregated(self, samples: int) -> bool:
        """True once the fleet's head rests on exactly that many labelled samples."""
        head = self.observer.head
        if head is not None and head.samples > samples:
            raise DemoError(f"the fleet's head counts {head.samples} samples, but only {samples} were labelled")
        return head is not None and head.samples == samples

    def table(self) -> list[dict[str, object]]:
        """The aggregator's own view of its devices (``edge-fleet devices --json``)."""
        command = [self._program("edge-fleet"), "devices", "--json", "--state-dir", str(self._folder / "aggregator")]
        output = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
        rows: list[dict[str, object]] = json.loads(output)
        return rows

    def _all_online(self) -> bool:
        return {device.name for device in self.devices} <= self.observer.online

    def _start(self, name: str, command: list[str]) -> None:
        log = self._folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            program = [self._program(command[0]), *command[1:]]
            self._processes[name] = subprocess.Popen(program, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def _program(self, name: str) -> str:
        return str(Path(sys.executable).parent / name)

    def _log_tail(self, name: str) -> str:
        lines = (self._folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-8:])

    def _stop(self) -> None:
        """SIGTERM to all, then SIGKILL to whoever does not leave; agents before the aggregator."""
        for process in reversed(self._processes.values()):
            process.terminate()
        killed = []
        for name, process in self._processes.items():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed.append(name)
        failed = [name for name, process in self._processes.items() if process.returncode not in (0, None)]
        self._processes = {}
        if killed:
            raise DemoError(f"had to kill {', '.join(killed)}: they did not stop within 15 s of SIGTERM")
        if failed and sys.exc_info()[0] is None:
            raise DemoError(f"did not stop cleanly: {', '.join(failed)}")
