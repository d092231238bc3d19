"""Two real packages of different versions: what the earlier agent learned is there after the upgrade.

The earlier agent refuses what the later one wrote, in one line, and touches nothing.

The earlier package is packed from git's history, from before two changes of the schema. The tests of one release share
a machine and run in order. `make system-test`; slow, needs root.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.debian import why_not
from tests.realsystem.machine import AGENT, SUITES, Machine, wait_until
from tests.realsystem.packages import EARLIER_VERSION, earlier_agent, no_earlier_agent
from tests.system.conftest import bundle

__all__ = ["bundle"]

REASON = why_not("dpkg-deb:dpkg", "nsenter:util-linux", "ip:iproute2", "git:git") or no_earlier_agent()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=REASON or "whole systems work"),
]
# what `edge-agent init` asks for; the earlier agent has no such command
AGENT_TOML = """\
[device]
id = "pump-1"
fleet = "plant"
[bundle]
path = "/etc/headway/model.hwb"
[storage]
state_dir = "/var/lib/edge-agent"
[sensor]
spool_dir = "/var/spool/headway/in"
predictions_dir = "/var/spool/headway/predictions"
"""


@pytest.fixture(scope="module", params=os.environ.get("SUITES", " ".join(SUITES)).split())
def machine(request: pytest.FixtureRequest, bundle: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="headway-upgrade-") as name:
        made = Machine(request.param, Path(name), bundle)
        earlier = earlier_agent(SUITES[request.param], "amd64", Path(name))
        shutil.copy(earlier, made.tree / "root" / "earlier.deb")
        with made.booted:
            yield made


def installed(machine: Machine) -> str:
    return machine.booted.run("dpkg-query", "--show", "--showformat=${Version}", "headway-agent")


def test_the_earlier_agent_learns(machine: Machine) -> None:
    machine.install_server()
    machine.booted.run("dpkg", "--install", "/root/earlier.deb")
    assert installed(machine).startswith(EARLIER_VERSION)
    (machine.tree / "etc" / "headway" / "agent.toml").write_text(AGENT_TOML)
    machine.booted.run("systemctl", "enable", "--now", AGENT)
    wait_until(machine.is_ready, "READY of the earlier agent", machine)
    machine.drop("earlier", 40)
    wait_until(lambda: machine.answered("earlier"), "the earlier agent's answer", machine)
    assert (machine.labels(), machine.schema()) == (40, 3)


def test_the_upgrade_keeps_what_was_learned_and_the_configuration(machine: Machine) -> None:
    before = machine.pid()
    said = machine.booted.run("dpkg", "--install", "/root/agent.deb")
    assert "Configuration file" not in said, "dpkg asks whoever upgrades"
    wait_until(lambda: machine.pid() not in (0, before) and machine.is_ready(), "the upgraded agent", machine)
    assert not installed(machine).startswith(EARLIER_VERSION)
    assert (machine.labels(), machine.schema()) == (40, 5)
    assert (machine.tree / "etc" / "headway" / "agent.toml").read_text() == AGENT_TOML
    machine.drop("later", 10, seed=3)
    wait_until(lambda: machine.answered("later"), "the upgraded agent's answer", machine)
    assert machine.labels() == 50


def test_the_fleet_counts_what_was_learned_before_the_upgrade(machine: Machine) -> None:
    machine.join("--replace")
    machine.booted.run("systemctl", "restart", AGENT)
    wait_until(lambda: machine.fleet_labels() == 50, "the labels of both versions at the server", machine)


def test_the_downgrade_is_refused_in_one_line_and_touches_nothing(machine: Machine) -> None:
    machine.booted.run("systemctl", "stop", AGENT)
    config = (machine.tree / "etc" / "headway" / "agent.toml").read_text()
    before = machine.state()
    machine.booted.run("dpkg", "--install", "/root/earlier.deb")
    assert installed(machine).startswith(EARLIER_VERSION)
    # its reader is strict, and knows nothing of what joining writes today
    (machine.tree / "etc" / "headway" / "agent.toml").write_text(AGENT_TOML)
    said = machine.booted.run("edge-agent", "run", "/etc/headway/agent.toml", code=None)
    assert [line for line in said.splitlines() if not line.startswith("INFO:")] == [
        "error: /var/lib/edge-agent/agent.sqlite has schema 5, this agent knows 3; upgrade the agent"
    ]
    machine.booted.run("systemctl", "start", AGENT, code=1)
    machine.booted.run("systemctl", "stop", AGENT)
    assert machine.state() == before
    (machine.tree / "etc" / "headway" / "agent.toml").write_text(config)


def test_the_upgrade_after_it_goes_on_as_if_nothing_had_been(machine: Machine) -> None:
    machine.booted.run("dpkg", "--install", "/root/agent.deb")
    machine.booted.run("systemctl", "restart", AGENT)
    wait_until(machine.is_ready, "READY after the second upgrade", machine)
    machine.drop("last", 10, seed=4)
    wait_until(lambda: machine.answered("last"), "an answer after the second upgrade", machine)
    assert machine.labels() == 60
    assert machine.status()["databases_set_aside"] == []
    wait_until(lambda: machine.fleet_labels() == 60, "all labels at the server", machine)


def test_a_package_whose_agent_cannot_start_is_installed_and_says_why(machine: Machine) -> None:
    said = machine.booted.run("dpkg", "--install", "/root/earlier.deb")
    assert "what ran before does not start" in said
    assert "upgrade the agent" in said or "unknown" in said
    machine.booted.run("dpkg", "--install", "/root/agent.deb")
    machine.booted.run("dpkg", "--purge", "headway-agent")
    for folder in ("opt/headway", "var/lib/private/edge-agent", "var/spool/headway", "etc/headway/agent.toml"):
        assert not (machine.tree / folder).exists(), folder
