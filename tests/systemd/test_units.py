"""The units as systemd itself reads them: every key known, every command there, exposure low."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aggregator.config import read_settings
from edge_agent.config import read_config
from headway.sd_notify import SystemdNotifier

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = ("edge-agent.service", "headway-aggregator.service")
JOINS = "headway-join-server.service"
API = "headway-api.service"
WORKER = "headway-worker@.service"
RENEWAL = ("edge-agent-renew.service", "edge-agent-renew.timer")
EXPOSURE_MAX = 2.0
# it runs as root for a second a day
RENEWAL_EXPOSURE_MAX = 3.0
ANALYZE = shutil.which("systemd-analyze")

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ANALYZE), *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with their programs: /opt/headway moved to a folder where both commands exist."""
    programs = tmp_path / "opt" / "bin"
    programs.mkdir(parents=True)
    for name in ("edge-agent", "edge-fleet"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    for unit in (*UNITS, API, JOINS, WORKER, *RENEWAL):
        text = (FOLDER / unit).read_text().replace("/opt/headway", str(tmp_path / "opt"))
        (tmp_path / unit).write_text(text)
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("unit", [*UNITS, API, JOINS, WORKER, *RENEWAL])
def test_systemd_knows_every_key(installed: Path, unit: str) -> None:
    result = analyze("verify", "--recursive-errors=no", "--man=no", str(installed / unit))
    assert result.returncode == 0, result.stderr
    assert unit not in result.stderr, result.stderr


@pytest.mark.parametrize("script", ["postinst", "prerm"])
def test_an_upgrade_restarts_every_service_of_the_server_and_a_removal_ends_it(script: str) -> None:
    text = (FOLDER.parent / "packaging" / "headway-server" / script).read_text()
    # of a template: whichever run
    units = [path.name.replace("@", "@*") for path in FOLDER.glob("headway-*.service")]
    assert len(units) == 4
    assert [unit for unit in units if unit not in text] == []


@needs_systemd
def test_a_misspelt_key_would_be_found(installed: Path) -> None:
    path = installed / UNITS[0]
    path.write_text(path.read_text().replace("WatchdogSec=", "WatchdogSek="))
    result = analyze("verify", "--recursive-errors=no", "--man=no", str(path))
    assert "WatchdogSek" in result.stderr


@needs_systemd
@pytest.mark.parametrize(
    ("unit", "most"),
    [*((unit, EXPOSURE_MAX) for unit in (*UNITS, API, JOINS, WORKER)), (RENEWAL[0], RENEWAL_EXPOSURE_MAX)],
)
def test_exposure_is_low(unit: str, most: float) -> None:
    result = analyze("security", "--offline=true", "--no-pager", str(FOLDER / unit))
    found = re.search(r"Overall exposure level for .*?: ([0-9.]+)", result.stdout)
    assert found is not None, result.stdout + result.stderr
    assert float(found[1]) <= most, result.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_the_watchdog_is_slower_than_the_loops_own_rhythm(unit: str) -> None:
    text = (FOLDER / unit).read_text()
    found = re.search(r"^WatchdogSec=(\d+)$", text, re.MULTILINE)
    assert found is not None
    assert SystemdNotifier(watchdog_s=float(found[1])).feed_interval_s >= 10
    assert "Type=notify" in text


def test_the_example_configurations_are_valid_and_agree_with_the_units() -> None:
    agent, aggregator = read_config(FOLDER / "agent.toml"), read_settings(FOLDER / "aggregator.toml")
    assert agent.fleet == aggregator.fleet
    for unit, folder in zip(UNITS, (agent.state_dir, aggregator.state_dir), strict=True):
        assert f"StateDirectory={folder.name}\n" in (FOLDER / unit).read_text()
        assert folder.parent == Path("/var/lib")
    assert "ReadWritePaths=/var/spool/headway\n" in (FOLDER / UNITS[0]).read_text()
    assert agent.sensor.spool_dir.is_relative_to("/var/spool/headway")


def test_the_join_server_is_the_same_user_on_the_same_folder() -> None:
    for line in ("DynamicUser=yes", "User=headway-aggregator", "StateDirectory=headway-aggregator", "UMask=0077"):
        for unit in (UNITS[1], JOINS):
            assert f"{line}\n" in (FOLDER / unit).read_text(), (line, unit)


def test_the_api_is_the_aggregators_user_on_its_folder() -> None:
    text, other = (FOLDER / API).read_text(), (FOLDER / UNITS[1]).read_text()
    # a dynamic user is named after its unit, and units that name the same one share it
    assert f"User={UNITS[1].removesuffix('.service')}\nDynamicUser=yes\n" in text
    shared = [line for line in other.splitlines() if line.startswith(("StateDirectory", "UMask", "DynamicUser"))]
    assert set(shared) <= set(text.splitlines())


@pytest.mark.parametrize("unit", [*UNITS, API, JOINS, WORKER, *RENEWAL])
def test_no_unit_waits_for_a_network(unit: str) -> None:
    assert "network-online" not in (FOLDER / unit).read_text()


def test_the_agents_memory_is_bounded_and_its_secrets_are_handed_over() -> None:
    text = (FOLDER / UNITS[0]).read_text()
    for line in ("MemoryMax=60%", "OOMPolicy=kill", "LoadCredential=secrets:/etc/headway/secrets"):
        assert f"\n{line}\n" in text
    # systemd refuses to start a service whose credentials are not there
    assert "\nd /etc/headway/secrets " in (FOLDER / "headway.tmpfiles").read_text()
