"""`edge-agent status`: how fast a device works, and who may see it under the unit's settings."""

from __future__ import annotations

import json
import os
import re
import stat
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.commands.status import read_status, status_text
from edge_agent.condition import (
    CONDITION_BYTES,
    CONDITION_FILE_BYTES,
    DISK,
    LEARNING,
    LINK,
    DeviceCondition,
    Figures,
    Standing,
)
from edge_agent.pace import LATENCIES_MAX, SECONDS, Pace
from edge_agent.sensors import Claimed
from edge_agent.status_file import StatusFile, live_status, read_status_file
from headway.errors import StoreError
from headway.fields import readable_json
from tests.device import Device, ManualClock
from tests.edge_agent.variants import windows

GROUP, DYNAMIC_USER, MEMBER, STRANGER = 64_301, 64_302, 64_303, 64_304

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, and only root can become one")


def drop(device: Device, name: str, wall_s: float, count: int = 1) -> None:
    """A file of windows that got its name at that moment of the wall clock."""
    x, y = windows(count)
    part = device.folder / f".{name}.npz"
    np.savez(part, x=x, y=y)
    part.rename(device.folder / "spool" / f"{name}.npz")
    found = (device.folder / "spool" / f"{name}.npz").stat().st_ctime
    device.clock.wall = found + wall_s  # the file system's clock is the machine's


def figures(device: Device) -> Figures:
    return device.loop.condition_in_full.figures


def test_windows_and_answers_are_counted_over_a_minute_and_labels_over_a_day(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.clock.now_s += 120
    for name in ("a", "b", "c"):
        drop(device, name, 0.0, 10)
    device.turn()
    assert (figures(device).windows_per_s, figures(device).answers_per_s) == (0.5, 0.5)
    assert figures(device).labels_per_day == 30 * 24, "as if the first hour were a whole one"
    device.turn(SECONDS + 1)
    assert (figures(device).windows_per_s, figures(device).answers_per_s) == (0.0, 0.0)
    device.turn(24 * 3600)
    assert figures(device).labels_per_day == pytest.approx(30, abs=1.5)
    device.turn(2 * 3600)
    assert figures(device).labels_per_day == 0.0, "these are of the day before"


def test_the_time_from_drop_to_answer_is_that_of_the_newest_files(tmp_path: Path) -> None:
    device = Device(tmp_path)
    assert figures(device).answers == 0
    for number in range(20):
        drop(device, str(number), 2.0 if number == 7 else 0.01)
        device.turn()
    found = figures(device)
    assert found.answers == 20
    assert (found.latency_p50_s, found.latency_p99_s) == (pytest.approx(0.01, abs=1e-3), pytest.approx(2.0, abs=1e-3))


def test_what_is_measured_is_bounded_and_a_clock_that_was_set_tells_nothing() -> None:
    clock = ManualClock()
    pace = Pace(clock, 0)
    pace.answered([Claimed(1, "a", Path(), clock.wall + 60)], 1)
    assert pace.figures(0).answers == 0
    for number in range(2000):
        clock.now_s += 7
        pace.took(1)
        pace.answered([Claimed(number, "a", Path(), clock.wall - 1)], 1)
        pace.figures(number)
    assert pace.figures(2000).answers == LATENCIES_MAX
    assert max(len(each) for each in (pace._seconds, pace._hours)) <= SECONDS


def test_figures_fit_beside_the_condition_and_earlier_agents_have_none() -> None:
    there = Figures(3.0, 2.9, 4000.5, 512, 0.0059, 0.0151)
    standings = {name: Standing("good", 1.0) for name in (DISK, LINK, LEARNING)}
    payload = DeviceCondition("good", standings, figures=there).encode(CONDITION_FILE_BYTES - CONDITION_BYTES)
    assert DeviceCondition.decode("good", payload).figures == there
    earlier = json.loads(payload)
    del earlier["figures"]
    assert DeviceCondition.decode("good", json.dumps(earlier).encode()).figures == Figures()


def test_status_shows_rates_and_times_of_a_running_agent(tmp_path: Path) -> None:
    device = Device(tmp_path)
    drop(device, "a", 0.01, 6)
    device.turn()
    loop = device.loop
    status = live_status(device.config, loop.agent, loop.store, loop.condition_in_full, device.clock)
    text = status_text(status)
    assert re.search("rates +windows_per_s 6.000, answers_per_s 6.000, labels_per_day 144.000", text)
    assert re.search("latency +p50_s 0.01[01], p99_s 0.01[01], answers 1", text)
    for name in ("link", "disk", "learning"):
        assert re.search(f"{name} +state [a-z]+, since 20[0-9-]+T", text)
    assert status["labels"] == 6
    readable_json(status)


def test_the_file_tells_of_a_running_agent_alone(tmp_path: Path) -> None:
    assert read_status_file(tmp_path, "pump") is None
    kept = StatusFile(tmp_path, "pump")
    kept.write({"device": "pump", "labels": 5_000})
    kept.write({"device": "pump"})
    assert read_status_file(tmp_path, "pump") == {"device": "pump"}
    (tmp_path / "killed.json").write_text('{"device": "killed"}')
    assert read_status_file(tmp_path, "killed") is None, "nobody keeps it up to date"
    kept.close()
    assert not (tmp_path / "pump.json").exists()
    nowhere = StatusFile(tmp_path / "nowhere", "pump")
    nowhere.write({})
    assert not nowhere.wanted


def become(user: int, groups: list[int], act: Callable[[], None]) -> int:
    """Do it as another user; returns the exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            act()
            code = 0
        finally:
            traceback.print_exc()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@as_root
def test_members_of_the_group_see_the_status_and_nobody_else_does(tmp_path: Path) -> None:
    """As under the unit: DynamicUser below a folder of root alone, UMask=0007, the folder of headway.tmpfiles."""
    for folder in [tmp_path, *tmp_path.parents][:4]:
        folder.chmod(folder.stat().st_mode | 0o011)
    private, shared = tmp_path / "private", tmp_path / "run"
    device = Device(tmp_path, private / "edge-agent")
    private.chmod(0o700)
    shared.mkdir()
    os.chown(shared, 0, GROUP)
    shared.chmod(0o2770)
    started, done = os.pipe(), os.pipe()

    def agent() -> None:
        os.umask(0o007)
        kept = StatusFile(shared, "pump")
        kept.write(live_status(device.config, device.loop.agent, device.loop.store, shown, device.clock))
        os.write(started[1], b".")
        os.read(done[0], 1)
        kept.close()

    shown = device.loop.condition_in_full
    config = replace(device.config, status_dir=shared)

    def sees() -> None:
        assert read_status(config)["labels"] == 0

    def sees_nothing() -> None:
        with pytest.raises(StoreError, match="run this with sudo; members of group headway see"):
            read_status(config)

    child = os.fork()
    if child == 0:
        os._exit(become(DYNAMIC_USER, [GROUP], agent))
    try:
        os.read(started[0], 1)
        found = (shared / "pump.json").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (DYNAMIC_USER, GROUP, 0o640)
        assert become(MEMBER, [GROUP], sees) == 0
        assert become(STRANGER, [], sees_nothing) == 0
    finally:
        os.write(done[1], b".")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert become(MEMBER, [GROUP], sees_nothing) == 0, "it has stopped"
