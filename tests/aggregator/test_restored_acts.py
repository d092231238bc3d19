"""A store that is set back in the middle of what operators asked for: commands, settings, rollouts come to one end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aggregator.rollouts import State
from headway.wire import CommandResult
from tests.aggregator.fleets import Fleet
from tests.aggregator.test_backup import set_back, store_in
from tests.aggregator.test_remote_commands import asked, know, lists, rows, states, tell
from tests.aggregator.test_rollouts import PLAN, Device
from tests.aggregator.test_rollouts import Fleet as RolloutFleet
from tests.aggregator.test_twins import DEVICE, Twin, sent, view, want


def test_a_command_that_was_done_since_the_backup_is_shown_as_done_and_one_given_since_is_not_missed(
    tmp_path: Path,
) -> None:
    fleet = Fleet(store=store_in(tmp_path))
    know(fleet, "a")
    tell(fleet, "a")
    first = asked(fleet, "a", "label", window="w1", **{"class": "walk"})
    results: list[CommandResult] = []

    def go_on() -> None:
        fleet.pass_time(1.0)
        second = asked(fleet, "a", "sync-now")
        fleet.pass_time(1.0)
        results.extend(
            [CommandResult(first.id, "done", {"label": "learned"}, 1.0), CommandResult(second.id, "done", {}, 2.0)]
        )
        tell(fleet, "a", *results)
        assert states(fleet) == ["done", "done"]

    restored = Fleet(store=set_back(fleet.store, tmp_path, go_on), now_s=fleet.now_s)
    assert [(row.id, row.state) for row in rows(restored)] == [(first.id, "asked")]
    assert lists(restored.pass_time(1.0)) == [[first.id]]
    # the device has done it, and says so again
    tell(restored, "a", *results)
    assert [(row.id, row.state) for row in rows(restored)] == [(first.id, "done")]
    assert restored.refusals == {}
    third = asked(restored, "a", "restart")
    assert lists(restored.pass_time(1.0)) == [[third.id]]


def test_settings_of_after_the_backup_give_way_to_those_that_it_holds(tmp_path: Path) -> None:
    fleet = Fleet(store=store_in(tmp_path))
    twins = [Twin(fleet, name) for name in ("a", "b")]
    for twin in twins:
        twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    twins[0].hear(fleet.pass_time(1.0))
    twins[0].tell()

    def go_on() -> None:
        want(fleet, DEVICE, "a", sync__interval_s=7)
        want(fleet, DEVICE, "b", sync__interval_s=9)
        effects = fleet.pass_time(1.0)
        for twin in twins:
            assert twin.hear(effects)
            twin.tell()

    restored = Fleet(store=set_back(fleet.store, tmp_path, go_on), now_s=fleet.now_s)
    for twin in twins:
        twin.fleet = restored
        twin.tell()
    effects = restored.pass_time(20.0)
    assert [twin.hear(effects) for twin in twins] == [True, True]
    assert [twin.values for twin in twins] == [{"sync.interval_s": 5}, {}]
    for twin in twins:
        twin.tell()
    assert [view(restored, twin.name).words for twin in twins] == ["applied", "applied"]
    assert not sent(restored.pass_time(1000.0))


def test_a_rollout_goes_on_from_what_devices_say_and_nobody_switches_twice(tmp_path: Path) -> None:
    devices = {f"d{at}": Device(f"d{at}", random=np.random.default_rng(at)) for at in range(12)}
    fleet = RolloutFleet(devices, store_in(tmp_path))
    fleet.begin(PLAN)
    fleet.hour()

    def go_on() -> None:
        while not fleet.switched:
            fleet.hour()
        assert len(fleet.switched) < len(devices)

    fleet.store = set_back(fleet.store, tmp_path, go_on)
    before = set(fleet.switched)
    fleet.restart()
    fleet.sender.again()
    fleet.until(State.DONE)
    assert set(fleet.switched) == set(devices) > before
    assert fleet.states() == {"there": 12}
