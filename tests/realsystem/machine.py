"""A whole fleet on one Debian under systemd: our packages, Debian's mosquitto, the server's services and a device's."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.store import DATABASE
from testbed.booted import Booted
from testbed.debian import Debian
from tests.realsystem.packages import package
from tests.system.make_model import data

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "python3", "mosquitto", "openssl", "ca-certificates", "iproute2", "procps",
)  # fmt: skip
SUITES = {"bookworm": "deb12", "trixie": "deb13"}
# much longer than anything takes: other programs on the same processors only delay the verdict
WAIT_S = 600.0
POLL_S = 0.1
AGENT, SERVER, BROKER = "edge-agent.service", "headway-aggregator.service", "mosquitto.service"
SERVER_TOML = """\
[fleet]
name = "plant"
[bundle]
path = "/etc/headway/model.hwb"
[storage]
state_dir = "/var/lib/headway-aggregator"
[mqtt]
host = "localhost"
port = 8883
tls = true
ca_file = "/etc/headway-broker/ca.pem"
cert_file = "/var/lib/headway-aggregator/authority/aggregator.pem"
key_file = "/var/lib/headway-aggregator/authority/aggregator.pem"
[enrolment]
port = 8884
broker_host = "localhost"
broker_port = 8883
broker_dir = "/etc/headway-broker"
"""
CONFIG = "/etc/headway/aggregator.toml"


def wait_until(done: Callable[[], bool], what: str, machine: Machine | None = None) -> None:
    """Poll for an outcome inside; fails with what was waited for and what the agent said last."""
    deadline = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > deadline:
            said = machine.booted.run("journalctl", "--no-pager", "--lines=30", "--output=cat") if machine else ""
            pytest.fail(f"waited {WAIT_S:.0f} s for {what}\n{said}")
        time.sleep(POLL_S)


class Machine:
    """The booted tree, with words for what its people and sensors do."""

    def __init__(self, suite: str, folder: Path, bundle: Path) -> None:
        self.tree, self.suite = folder / "tree", suite
        Debian(suite, PACKAGES).unpack(self.tree)
        shutil.copy(package("headway-agent", SUITES[suite], "amd64", folder), self.tree / "root" / "agent.deb")
        shutil.copy(package("headway-server", SUITES[suite], "amd64", folder), self.tree / "root" / "server.deb")
        (self.tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")  # as Debian's installer does
        shutil.copy(bundle, self.tree / "root" / "model.hwb")
        self.booted = Booted(self.tree)

    def install(self) -> None:
        """Both packages, the broker by our command, the server's services, and the device with a code."""
        self.install_server()
        self.booted.run("dpkg", "--install", "/root/agent.deb")
        self.join()
        self.booted.run("systemctl", "enable", "--now", AGENT)

    def install_server(self) -> None:
        run = self.booted.run
        run("dpkg", "--install", "/root/server.deb")
        run("install", "-m", "644", "/root/model.hwb", "/etc/headway/model.hwb")
        (self.tree / CONFIG.lstrip("/")).write_text(SERVER_TOML)
        run("edge-fleet", "broker-config", "/etc/headway-broker", "--name", "localhost", "--config", CONFIG)
        run("mkdir", "-p", "/etc/systemd/system/mosquitto.service.d")
        run(
            "cp", "/etc/headway-broker/mosquitto.service.conf", "/etc/systemd/system/mosquitto.service.d/headway.conf"
        )  # fmt: skip
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", BROKER)
        run("systemctl", "enable", "--now", SERVER, "headway-join-server.service")
        wait_until(lambda: "8884" in run("ss", "-ltn"), "the address at which devices join", self)

    def join(self, *options: str) -> None:
        """The device's configuration, with a code of the server."""
        code = self.booted.run("edge-fleet", "enroll", "pump-1", "--config", CONFIG).split()[-1]
        words = ("--bundle", "/etc/headway/model.hwb", "--device", "pump-1", "--fleet", "plant", *options)
        self.booted.run("edge-agent", "init", *words, "--join", "https://localhost:8884", "--code", code)
        self.set("sync", "interval_s", "1.0")

    def set(self, table: str, key: str, value: str) -> None:
        """Put a setting in force in agent.toml, where it stands as a comment or with another value."""
        path = self.tree / "etc" / "headway" / "agent.toml"
        lines, inside, done = [], "", False
        for line in path.read_text().splitlines():
            if line.startswith("["):
                inside = line.strip("[] ")
            if inside == table and line.lstrip("#").startswith(f"{key} ="):
                line, done = f"{key} = {value}", True
            lines.append(line)
        assert done, f"agent.toml has no {table}.{key}"
        path.write_text("\n".join(lines) + "\n")

    def drop(self, name: str, count: int, spool: str = "var/spool/headway/in", seed: int = 2) -> None:
        """A labelled file of `count` windows, complete from its first moment."""
        x, y = data(count, seed=seed)
        part = self.tree / spool / f".{name}.npz"
        np.savez(part, x=x, y=y)
        part.rename(part.with_name(f"{name}.npz"))

    def answered(self, name: str, folder: str = "var/spool/headway/predictions") -> bool:
        return (self.tree / folder / f"{name}.npz").exists()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.booted.run("edge-agent", "status", "--json", "/etc/headway/agent.toml"))
        return found

    def state(self) -> dict[str, bytes]:
        """Every file that the agent must not lose, byte for byte."""
        folder = self.tree / "var" / "lib" / "private" / "edge-agent"
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        # of the running process, not of what was learned
        return {name: content for name, content in found.items() if not name.endswith((".lock", "-shm", "condition"))}

    def schema(self) -> int:
        """Of the device's database."""
        (database,) = (self.tree / "var" / "lib" / "private" / "edge-agent").rglob(DATABASE)
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.close()
        return int(version)

    def labels(self) -> int:
        return int(self.status()["labels"])

    def fleet_labels(self) -> int:
        """What the server has counted of the device."""
        listed = json.loads(self.booted.run("edge-fleet", "devices", "--json", "--config", CONFIG))
        rows = listed["devices"] if isinstance(listed, dict) else listed
        return sum(int(row["labels"] or 0) for row in rows)

    def pid(self) -> int:
        return int(self.booted.show(AGENT, "MainPID"))

    def is_ready(self) -> bool:
        return self.booted.show(AGENT, "ActiveState") == "active"
