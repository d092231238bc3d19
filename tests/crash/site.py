"""The server's side of a run: an authority, a broker that asks for its certificates, aggregator and join server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from aggregator.commands.enrolment import write_broker_config
from aggregator.config import Settings, read_settings
from aggregator.enrolment.enrolment import Enrolment
from aggregator.operations.enrolment import opened
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from edge_agent.enrolment import join_fleet
from headway.ports import SystemClock
from testbed.broker import HOST, Broker, die_with_parent, free_port
from tests.crash.branch import BIN, CONFIG
from tests.crash.shortfall import Shortfall

CLOCK = SystemClock()
FLEET, HOUR_S, LISTENS_WITHIN_S = "crash", 3600.0, 180.0
TOML = """\
fleet.name = "crash"
bundle.path = "{bundle}"
storage.state_dir = "{folder}/aggregator"
publish.interval_s = 0.2
api.port = {api_port}
mqtt = {{ host = "localhost", port = {port}, tls = true, ca_file = "{folder}/broker/ca.pem", \
cert_file = "{folder}/aggregator/authority/aggregator.pem", key_file = "{folder}/aggregator/authority/aggregator.pem" }}
enrolment = {{ listen = "127.0.0.1", port = {join_port}, broker_port = {port}, broker_dir = "{folder}/broker", \
broker_reload = ["sh", "-c", "kill -HUP $(cat {folder}/broker.ready)"] }}
"""
# as edge-fleet broker-config writes it, on the port and with the files of the test's own broker
BROKER = """\
cafile {folder}/broker/ca.pem
certfile {folder}/broker/server.pem
keyfile {folder}/broker/server.key
crlfile {folder}/broker/revoked.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file {folder}/broker/headway.acl
"""


# what mosquitto logs once it handles signals
RUNNING = " running\n"


class Site:
    """A context manager; everything in `folder`. bundle: that the fleet begins with."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder, self._bundle = folder, bundle
        self.api_port, self._join_port = free_port(), free_port()
        self.broker = Broker(extra=BROKER.format(folder=folder))
        self._aggregator: subprocess.Popen[bytes] | None = None
        self._join_server: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()
        self.broker_crashes = 0

    @property
    def config(self) -> Path:
        """aggregator.toml."""
        return self.folder / "aggregator.toml"

    @property
    def state_dir(self) -> Path:
        """Of the aggregator."""
        return self.folder / "aggregator"

    @property
    def join_url(self) -> str:
        """Where devices join."""
        return f"https://localhost:{self._join_port}"

    @property
    def settings(self) -> Settings:
        return read_settings(self.config)

    def __enter__(self) -> Site:
        with contextlib.ExitStack() as stack:
            self._write_config(port=1)  # the broker's port is not known yet, and its certificate does not name it
            folder = self.folder
            user = "nobody" if os.geteuid() == 0 else "mosquitto"
            with contextlib.redirect_stdout(None):
                write_broker_config(self.settings, CLOCK, folder / "broker", (HOST,), user, folder / "data")
            stack.enter_context(self.broker)
            self._broker_is_ready(starts=1)
            self._write_config(self.broker.port)
            stack.callback(self.stop)
            self._run_aggregator()
            self._run_join_server()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def enrolment(self, store: SqlStore) -> Enrolment:
        """What `edge-fleet enroll` works with."""
        return opened(self.settings, CLOCK, lambda: store)[0]

    def join(self, device: str, folder: Path) -> None:
        """A device of the fleet, which has its agent.toml already."""
        with self.store() as store:
            code = self.enrolment(store).put_code("crash", device, [], 1, CLOCK.wall_s(), HOUR_S)
        join_fleet(self.join_url, code.text, "", folder / CONFIG)

    @contextlib.contextmanager
    def store(self) -> Iterator[SqlStore]:
        """The aggregator's store, in one transaction."""
        store = SqlStore(sqlite_url(self.state_dir))
        try:
            with store.transaction():
                yield store
        finally:
            store.close()

    def kill_broker(self) -> None:
        """SIGKILL, and a start."""
        starts = self.broker.log().count(RUNNING)
        self._ready.unlink()
        self.broker.kill()
        self.broker.start()
        self._broker_is_ready(starts + 1)

    def revive_broker(self) -> bool:
        """Start a broker that has crashed, as systemd would; whether it had. mosquitto 2.0.11 does so now and then.

        Raises Shortfall where it has left by itself.
        """
        code = self.broker.ended
        if code is None:
            return False
        if code >= 0:
            raise Shortfall(f"the broker ended by itself, code {code}:\n{self.broker.log()[-400:]}")
        print(f"the broker crashed by signal {-code}, and is started again", flush=True)
        self.broker_crashes += 1
        self.kill_broker()
        return True

    def pause(self, seconds: float) -> None:
        """Wait for something that needs the broker."""
        time.sleep(seconds)
        self.revive_broker()

    @property
    def _ready(self) -> Path:
        """Holds the broker's process id while it can be told to read its lists again, as systemd knows it."""
        return self.folder / "broker.ready"

    def _broker_is_ready(self, starts: int) -> None:
        """mosquitto listens before it handles SIGHUP, which ends it until then: systemd would not send it so early."""
        deadline_s = time.monotonic() + LISTENS_WITHIN_S
        while self.broker.log().count(RUNNING) < starts:
            if time.monotonic() > deadline_s:
                raise Shortfall(f"the broker was not ready within {LISTENS_WITHIN_S:g} s:\n{self.broker.log()[-400:]}")
            time.sleep(0.01)
        self._ready.write_text(str(self.broker.pid))

    def kill_aggregator(self) -> None:
        """Likewise. Raises Shortfall where it had ended by itself."""
        _kill(self._aggregator, "the aggregator")
        self._run_aggregator()

    def kill_join_server(self) -> None:
        """Likewise."""
        _kill(self._join_server, "the join server")
        self._run_join_server()

    def stop(self) -> None:
        """End aggregator and join server in good order."""
        for process in (self._aggregator, self._join_server):
            if process is not None:
                process.terminate()
                process.wait(60)
        self._aggregator = self._join_server = None

    def await_join_server(self) -> None:
        """Until it listens."""
        deadline_s = time.monotonic() + LISTENS_WITHIN_S
        while not _listens(self._join_port):
            if time.monotonic() > deadline_s:
                raise Shortfall("the join server does not listen")
            time.sleep(0.05)

    def _write_config(self, port: int) -> None:
        words = {"bundle": self._bundle, "folder": self.folder, "port": port}
        text = TOML.format(api_port=self.api_port, join_port=self._join_port, **words)
        self.config.write_text(text)

    def _run_aggregator(self) -> None:
        self._aggregator = self._run("serve")

    def _run_join_server(self) -> None:
        self._join_server = self._run("join-server")

    def _run(self, command: str) -> subprocess.Popen[bytes]:
        words = [str(BIN / "edge-fleet"), command, "--config", str(self.config)]
        with (self.folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, preexec_fn=die_with_parent)


def _kill(process: subprocess.Popen[bytes] | None, what: str) -> None:
    assert process is not None
    if process.poll() is not None:
        raise Shortfall(f"{what} ended by itself, code {process.returncode}")
    process.send_signal(signal.SIGKILL)
    process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
