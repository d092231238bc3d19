"""The packages on a real Debian, run by its own systemd: what the units promise, as a device lives it.

The tests of one release share a machine and run in order: installed, killed, hung, stopped, cut from its network,
upgraded, set back, purged. `make system-test`; slow, needs root.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.store import DATABASE
from testbed.debian import why_not
from tests.realsystem.machine import AGENT, BROKER, SERVER, SUITES, Machine, wait_until
from tests.system.conftest import bundle

__all__ = ["bundle"]

REASON = why_not("dpkg-deb:dpkg", "nsenter:util-linux", "ip:iproute2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=REASON or "whole systems work"),
]
WATCHDOG_S = 5.0
# windows: several seconds of learning on a small machine
LARGE = 16_000
RUN = "/run/systemd/system/edge-agent.service.d"


@pytest.fixture(scope="module", params=os.environ.get("SUITES", " ".join(SUITES)).split())
def machine(request: pytest.FixtureRequest, bundle: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="headway-systemd-") as folder:
        yield from _installed(Machine(request.param, Path(folder), bundle))


def _installed(machine: Machine) -> Iterator[Machine]:
    with machine.booted:
        machine.install()
        yield machine


def restarts(machine: Machine) -> int:
    return int(machine.booted.show(AGENT, "NRestarts"))


def test_ready_and_learning_in_the_fleet(machine: Machine) -> None:
    wait_until(machine.is_ready, "READY of the agent", machine)
    for unit in (AGENT, SERVER, BROKER):
        assert machine.booted.show(unit, "ActiveState") == "active", unit
    assert machine.booted.show(AGENT, "Type") == "notify"
    machine.drop("first", 40)
    wait_until(lambda: machine.answered("first"), "the answer", machine)
    assert machine.labels() == 40
    wait_until(lambda: machine.fleet_labels() == 40, "the labels at the server", machine)
    process = Path(f"/proc/{machine.booted.host_pid(machine.pid())}/status").read_text()
    assert "NoNewPrivs:\t1" in process
    assert "Seccomp:\t2" in process
    assert "CapEff:\t0000000000000000" in process


def test_sigkill_is_followed_by_a_start_with_everything_learned(machine: Machine) -> None:
    before, count = machine.pid(), restarts(machine)
    machine.booted.signal(AGENT, signal.SIGKILL)
    wait_until(lambda: machine.pid() not in (0, before) and machine.is_ready(), "a new process", machine)
    assert restarts(machine) == count + 1
    assert machine.labels() == 40


def test_a_hung_agent_is_restarted_by_the_watchdog(machine: Machine) -> None:
    folder = machine.tree / RUN.lstrip("/")
    machine.booted.run("mkdir", "-p", RUN)
    machine.booted.run("sh", "-c", f"printf '[Service]\\nWatchdogSec={WATCHDOG_S:.0f}\\n' > {RUN}/hang.conf")
    assert not folder.exists(), "/run is the machine's own"
    machine.booted.run("systemctl", "daemon-reload")
    machine.booted.run("systemctl", "restart", AGENT)
    before = machine.pid()
    began_s = time.monotonic()
    machine.booted.signal(AGENT, signal.SIGSTOP)
    wait_until(lambda: machine.pid() not in (0, before) and machine.is_ready(), "the watchdog's restart", machine)
    assert time.monotonic() - began_s > WATCHDOG_S / 2
    assert "Watchdog timeout" in machine.booted.journal(AGENT)
    machine.booted.run("rm", "-r", RUN)
    machine.booted.run("systemctl", "daemon-reload")
    assert machine.labels() == 40


def test_sigterm_in_a_large_file_stops_in_time_and_the_file_is_counted_once(machine: Machine) -> None:
    before = machine.labels()
    machine.drop("large", LARGE, seed=5)
    wait_until(lambda: before < machine.labels() < before + LARGE, "a part of the large file", machine)
    began_s = time.monotonic()
    machine.booted.run("systemctl", "stop", AGENT)
    took_s = time.monotonic() - began_s
    assert machine.booted.show(AGENT, "Result") == "success"
    assert took_s < 30, "systemd had to kill it"
    assert not machine.answered("large")
    print(f"SIGTERM during a file of {LARGE:,} windows to the end of the process: {took_s:.2f} s")
    machine.booted.run("systemctl", "start", AGENT)
    wait_until(lambda: machine.answered("large"), "the rest of the large file", machine)
    assert machine.labels() == before + LARGE


def test_a_boot_without_network_works_and_catches_up_later(machine: Machine) -> None:
    before = machine.labels()
    machine.booted.run("systemctl", "stop", AGENT)
    machine.booted.power_off()
    machine.booted.boot(network=False)
    wait_until(machine.is_ready, "READY without a network", machine)
    machine.drop("offline", 20, seed=8)
    wait_until(lambda: machine.answered("offline"), "the answer without a network", machine)
    assert machine.labels() == before + 20
    machine.booted.run("ip", "link", "set", "lo", "up")
    for unit in (BROKER, SERVER):
        machine.booted.run("systemctl", "restart", unit)
    wait_until(lambda: machine.fleet_labels() == before + 20, "what was learned without a network", machine)


def test_secrets_of_root_alone_reach_the_service_and_nobody_else(machine: Machine) -> None:
    run = machine.booted.run
    run("sh", "-c", "umask 077; mkdir -p /etc/headway/secrets; echo hunter2 > /etc/headway/secrets/mqtt.password")
    machine.set("mqtt", "password_file", '"/etc/headway/secrets/mqtt.password"')
    machine.set("mqtt", "username", '"pump-1"')
    run("systemctl", "restart", AGENT)
    wait_until(machine.is_ready, "READY with a secret", machine)
    assert "hunter2" not in machine.booted.journal(AGENT)
    said = run("setpriv", "--reuid=nobody", "--clear-groups", "cat", "/etc/headway/secrets/mqtt.password", code=1)
    assert "Permission denied" in said
    assert run("stat", "-c", "%U %a", "/etc/headway/secrets/mqtt.password").strip() == "root 600"


def test_the_spool_can_be_elsewhere(machine: Machine) -> None:
    run = machine.booted.run
    run("install", "-d", "-m", "2770", "-g", "headway", "/srv/windows", "/srv/windows/in", "/srv/windows/out")
    folder = "/etc/systemd/system/edge-agent.service.d"
    run("sh", "-c", f"mkdir -p {folder}; printf '[Service]\\nReadWritePaths=/srv/windows\\n' > {folder}/spool.conf")
    machine.set("sensor", "spool_dir", '"/srv/windows/in"')
    machine.set("sensor", "predictions_dir", '"/srv/windows/out"')
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", AGENT)
    machine.drop("elsewhere", 10, spool="srv/windows/in", seed=9)
    wait_until(lambda: machine.answered("elsewhere", "srv/windows/out"), "the answer elsewhere", machine)


def test_the_same_package_again_keeps_state_and_configuration(machine: Machine) -> None:
    before, labels = machine.pid(), machine.labels()
    config = (machine.tree / "etc" / "headway" / "agent.toml").read_text()
    machine.booted.run("dpkg", "--install", "/root/agent.deb")
    wait_until(lambda: machine.pid() not in (0, before) and machine.is_ready(), "the upgraded agent", machine)
    assert machine.labels() == labels
    assert (machine.tree / "etc" / "headway" / "agent.toml").read_text() == config


def test_an_older_agent_refuses_newer_state_in_one_line_and_leaves_it(machine: Machine) -> None:
    """What a later release writes has a higher schema; this release is then the older one."""
    machine.booted.run("systemctl", "stop", AGENT)
    (database,) = (machine.tree / "var" / "lib" / "private" / "edge-agent").rglob(DATABASE)
    connection = sqlite3.connect(database)
    (known,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version={known + 1}")
    connection.close()
    before = machine.state()
    said = machine.booted.run("edge-agent", "run", "/etc/headway/agent.toml", "--once", code=None)
    errors = [line for line in said.splitlines() if "schema" in line]
    assert len(errors) == 1, said
    assert "upgrade the agent" in errors[0]
    assert machine.state() == before
    connection = sqlite3.connect(database)
    connection.execute(f"PRAGMA user_version={known}")
    connection.close()
    machine.booted.run("systemctl", "start", AGENT)
    wait_until(machine.is_ready, "READY after the upgrade that it asked for", machine)


def test_purge_leaves_nothing_of_the_device(machine: Machine) -> None:
    machine.booted.run("dpkg", "--purge", "headway-agent")
    assert "could not be found" in machine.booted.run("systemctl", "status", AGENT, code=4)
    for folder in ("opt/headway", "var/lib/private/edge-agent", "var/lib/edge-agent", "var/spool/headway"):
        assert not (machine.tree / folder).exists(), folder
    machine.booted.run("dpkg", "--purge", "headway-server")
    for folder in ("opt/headway-server", "etc/headway", "var/lib/private/headway-aggregator"):
        assert not (machine.tree / folder).exists(), folder
    assert "headway" not in (machine.tree / "etc" / "group").read_text()
