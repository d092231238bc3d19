"""``make fleet-demo``: real agents that learn while you look at their page; Ctrl-C ends all and leaves nothing.

mosquitto, `edge-fleet serve`, `edge-fleet api` and one `edge-agent` process for each device, on this machine alone. The
devices wear the watches of `demo.watch`: each gets windows of its wrist, some with their label, as long as it runs.
After a while one of them is worn the other way round, so that its answers drift, and one goes offline.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from aggregator.access import Role
from aggregator.access.passwords import hashed
from aggregator.operations import Operator, put_user
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from demo import watch
from demo.fleet import DemoError, Device
from headway.errors import HeadwayError
from headway.ports import SystemClock
from testbed.broker import Broker, BrokerFailed, die_with_parent, free_port
from testbed.mosquitto import MosquittoMissing

FLEET, USER = "demo", "demo"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "fleet-demo"
# resident, with room for what a start needs
AGENT_BYTES = 90 << 20
STARTS_AT_ONCE, STARTS_PER_TICK = 4, 1
PAGE_S, STOP_S = 60.0, 20.0
# of one look; two cores answer fifty devices at leisure
TICK_S, FED_PER_TICK = 0.5, 5
LABELLED_SHARE = 0.4
TURNED_AFTER_S, AWAY_AFTER_S = 120.0, 180.0

AGENT_TOML = """\
[device]
id = "{device}"
fleet = "{fleet}"
attributes = {{ wrist = "{wrist}" }}
[bundle]
path = "{bundle}"
[storage]
state_dir = "state"
[labels_wanted]
interval_s = 10.0
send_windows = true
[sync]
interval_s = 5.0
[answers]
mqtt_labels = true
[mqtt]
host = "{host}"
port = {port}
"""
SERVER_TOML = """\
[fleet]
name = "{fleet}"
[bundle]
path = "{bundle}"
[storage]
state_dir = "server"
[publish]
interval_s = 5.0
[mqtt]
host = "{host}"
port = {port}
[api]
port = {page}
"""


class LiveFleet:
    """Starts everything, feeds the devices, and ends every process that it started. say: tells a person."""

    def __init__(self, folder: Path, count: int, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        _, self._wrists, _ = watch.load()
        names = list(self._wrists)
        self.wrist_of = {f"watch-{number:02d}": names[number % len(names)] for number in range(1, count + 1)}
        self.devices = [Device(name, folder / "devices" / name) for name in self.wrist_of]
        self.password, self.page = secrets.token_urlsafe(9), 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._random = np.random.default_rng(1)
        self._fed = 0
        self._broker = Broker()

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.page}"

    @contextlib.contextmanager
    def running(self, bundle: Path) -> Iterator[LiveFleet]:
        """The page answers and the first devices are there; the others follow while `tick` is called."""
        with self._broker as broker:
            try:
                self._serve(bundle, broker)
                yield self
            finally:
                self._stop()

    def tick(self, passed_s: float) -> None:
        """Start the next devices, and give windows to some. passed_s: since the page was there."""
        self._check()
        waiting = [device for device in self.devices if device.name not in self._processes]
        for device in waiting[:STARTS_PER_TICK]:
            self._start(device.name, "edge-agent", "run", str(device.folder / "agent.toml"))
        started = [device for device in self.devices if device.name in self._processes]
        away = started[-1].name if passed_s > AWAY_AFTER_S and len(started) > 2 else ""
        if away and self._processes[away].poll() is None:
            self._processes[away].terminate()
        for _ in range(min(FED_PER_TICK, len(started))):
            device = started[self._fed % len(started)]
            self._fed += 1
            if device.name != away:
                self._feed(device, turned=device is started[0] and passed_s > TURNED_AFTER_S)

    def _serve(self, bundle: Path, broker: Broker) -> None:
        words = {"fleet": FLEET, "bundle": bundle, "host": broker.host, "port": broker.port}
        for device in self.devices:
            (device.folder / "spool").mkdir(parents=True)
            text = AGENT_TOML.format(device=device.name, wrist=self.wrist_of[device.name].split("-")[1], **words)
            (device.folder / "agent.toml").write_text(text)
        self.page = free_port()
        config = self._folder / "aggregator.toml"
        config.write_text(SERVER_TOML.format(page=self.page, **words))
        self._start("server", "edge-fleet", "serve", "--config", str(config))
        self._user()
        self._start("page", "edge-fleet", "api", "--config", str(config))
        for device in self.devices[:STARTS_AT_ONCE]:
            self._start(device.name, "edge-agent", "run", str(device.folder / "agent.toml"))
        deadline = time.monotonic() + PAGE_S
        while not self._answers():
            self._check()
            if time.monotonic() > deadline:
                raise DemoError(f"waited {PAGE_S:.0f} s for {self.address}:\n{self._log_tail('page')}")
            time.sleep(0.1)

    def _user(self) -> None:
        """Made here, so that the password stands in no file and no list of processes."""
        folder = self._folder / "server"
        folder.mkdir(exist_ok=True)
        store = SqlStore(sqlite_url(folder))
        try:
            with store.transaction():
                put_user(Operator.local(store, SystemClock()), USER, Role.ADMIN, hashed(self.password))
        finally:
            store.close()

    def _feed(self, device: Device, *, turned: bool) -> None:
        """Two windows of its wrist, in the way of a sensor program: written, then renamed."""
        windows = self._wrists[self.wrist_of[device.name]]
        rows = self._random.integers(len(windows.y), size=2)
        x, name = windows.x[rows], f"{self._fed:08d}"
        if turned:
            x = -x[..., ::-1]
        arrays = {"x": x, "id": np.array([f"{device.name}-{name}-{row}" for row in range(2)])}
        if self._random.random() < LABELLED_SHARE:
            arrays["y"] = windows.y[rows]
        part = device.folder / "spool" / f".{name}.part.npz"
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.rename(device.folder / "spool" / f"{name}.npz")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/log-in", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError):
            return False

    def _start(self, name: str, program: str, *arguments: str) -> None:
        log = self._folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        command = [str(Path(sys.executable).parent / program), *arguments]
        with log.open("wb") as output:
            # a session of its own: Ctrl-C in the terminal is heard here alone, and ends them in order
            self._processes[name] = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=die_with_parent,
            )  # fmt: skip

    def _check(self) -> None:
        for name, process in self._processes.items():
            if process.poll() not in (None, 0, -signal.SIGTERM):
                raise DemoError(f"{name} ended with exit code {process.returncode}:\n{self._log_tail(name)}")

    def _log_tail(self, name: str) -> str:
        return "\n".join((self._folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()[-8:])

    def _stop(self) -> None:
        """SIGTERM to all, devices first; SIGKILL to whoever does not leave."""
        for process in reversed(self._processes.values()):
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def made_bundle(cache: Path, say: Callable[[str], None]) -> Path:
    """The demo's model as a bundle, made the first time. Raises DemoError."""
    bundle = cache / "watch.hwb"
    if bundle.exists():
        return bundle
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        work = Path(scratch)
        say("training the demo's model on five people's watches (once)")
        _run(sys.executable, "-m", "demo.train", str(work))
        say("converting it: edge-convert watch.keras --data train.npz --out watch.hwb")
        convert = str(Path(sys.executable).parent / "edge-convert")
        data = ("--data", str(work / "train.npz"), "--out", str(work / "watch.hwb"))
        _run(convert, str(work / "watch.keras"), *data)
        os.replace(work / "watch.hwb", bundle)
    return bundle


def devices_that_fit(wanted: int, meminfo: Path = Path("/proc/meminfo")) -> int:
    """So many agents as the free memory holds, `wanted` at most."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return max(1, min(wanted, int(line.split()[1]) * 1024 // AGENT_BYTES))
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fleet-demo", description=__doc__)
    parser.add_argument("--devices", type=int, default=50, help="agents (50)")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after so many (0: when interrupted)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder where the bundle is kept")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    began_s = time.monotonic()
    count = devices_that_fit(options.devices)
    if count < options.devices:
        _say(f"{count} devices instead of {options.devices}: more do not fit into the free memory")
    work = Path(tempfile.mkdtemp(prefix="headway-fleet-demo-"))
    try:
        bundle = made_bundle(options.cache, _say)
        _say(f"starting mosquitto, the server, the page and {count} devices")
        with LiveFleet(work, count, _say).running(bundle) as fleet:
            _say(f"the page answers after {time.monotonic() - began_s:.0f} s: {fleet.address}")
            print(f"\n    {fleet.address}\n    name      {USER}\n    password  {fleet.password}\n", flush=True)
            _say("devices join for half a minute; one turns after two minutes, one leaves after three; Ctrl-C ends all")
            _watch(fleet, options.seconds)
    except KeyboardInterrupt:
        _say("everything is stopped")
    except (BrokerFailed, DemoError, HeadwayError, MosquittoMissing) as error:
        print(f"fleet-demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def _watch(fleet: LiveFleet, seconds: float) -> None:
    began_s = time.monotonic()
    while not seconds or time.monotonic() - began_s < seconds:
        fleet.tick(time.monotonic() - began_s)
        time.sleep(TICK_S)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise DemoError(f"{' '.join(command[:3])} ended with exit code {done.returncode}:\n{done.stderr[-1500:]}")


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
