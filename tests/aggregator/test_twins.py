"""Settings from afar, on the server: merged, sent to whom knows them, compared with what devices say."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.effects import Effect
from aggregator.registry import Request, device_names, put_filter_group, put_list_group, set_tags
from aggregator.store.rows import DEVICE, FLEET, GROUP, SENT_SETTINGS, WANTED_SETTINGS
from aggregator.twins import SettingsView, change_settings, settings_view
from headway.errors import ConfigError
from headway.ports import Outgoing, Received
from headway.wire import Configuration, ConfigurationState, Kind, SettingValue, Status, parse_topic, topic
from tests.aggregator.fleets import FLEET as PLANT
from tests.aggregator.fleets import Fleet

OWN: dict[str, SettingValue] = {
    "sync.interval_s": 60.0, "sync.ack_timeout_s": 30.0, "policy.trigger": "always", "learner.gate_margin": 1.0
}  # fmt: skip


class Twin:
    """A device that does what it is told, or not."""

    def __init__(self, fleet: Fleet, name: str, refuses: str = "") -> None:
        self.fleet, self.name, self.refuses = fleet, name, refuses
        self.values: dict[str, SettingValue] = {}
        self.version = 0
        fleet.send(Received(topic(PLANT, name, Kind.STATUS), Status(True, 1).encode()))

    def tell(self) -> None:
        refused = {key: "too small" for key in self.values if key == self.refuses}
        taken = {key: value for key, value in self.values.items() if key not in refused}
        state = ConfigurationState(self.version, "applied", OWN | taken, tuple(sorted(taken)), refused)
        self.fleet.send(Received(topic(PLANT, self.name, Kind.CONFIGURATION_STATE), state.encode(), retain=True))

    def hear(self, effects: list[Effect]) -> bool:
        """Take in what is for this device; True when something was."""
        found = [one for one in sent(effects) if parse_topic(one.topic).device == self.name]
        for message in found:
            configuration = Configuration.decode(message.payload)
            self.version, self.values = configuration.version, dict(configuration.values)
        return bool(found)


def sent(effects: list[Effect]) -> list[Outgoing]:
    found = [one for one in effects if isinstance(one, Outgoing) and one.topic.endswith("/configuration")]
    assert all(one.retain for one in found)
    return found


def want(fleet: Fleet, scope: str, name: str, *unset: str, priority: int | None = None, **values: Any) -> None:
    given = {key.replace("__", "."): value for key, value in values.items()}
    with fleet.store.transaction():
        change_settings(fleet.store, scope, name, given, unset, fleet.instant.wall_s, priority)


def view(fleet: Fleet, device: str) -> SettingsView:
    with fleet.store.transaction():
        return settings_view(fleet.store, device, fleet.instant.wall_s)


def found(fleet: Fleet, wanted: str) -> list[str]:
    with fleet.store.transaction():
        return device_names(fleet.store, Request(wanted), fleet.instant.wall_s)


def test_a_setting_reaches_the_device_at_the_next_turn_and_its_answer_is_shown() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    assert twin.hear(fleet.pass_time(1.0))
    assert (twin.version, twin.values) == (1, {"sync.interval_s": 5})
    assert view(fleet, "a").words == "pending"
    assert found(fleet, "settings_pending") == ["a"]
    twin.tell()
    assert view(fleet, "a").words == "applied"
    assert found(fleet, "settings_pending or settings_refused") == []
    assert not sent(fleet.pass_time(1000.0)), "told once"


def test_a_device_that_has_not_told_of_its_settings_is_sent_none() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "old")
    want(fleet, FLEET, "", sync__interval_s=5)
    assert not sent(fleet.pass_time(100.0))
    assert view(fleet, "old").words == "unknown"
    twin.tell()  # it was upgraded
    assert twin.hear(fleet.pass_time(1.0))


def test_the_nearer_wins_value_by_value() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    with fleet.store.transaction():
        put_list_group(fleet.store, "north", ["a"], [], 0.0)
        put_filter_group(fleet.store, "slow", 'tag.line == "slow"', 0.0)
        set_tags(fleet.store, ["a"], {"line": "slow"}, [])
    want(fleet, FLEET, "", sync__interval_s=1, sync__ack_timeout_s=1, policy__trigger="labels", learner__gate_margin=1)
    want(fleet, GROUP, "slow", sync__interval_s=2, sync__ack_timeout_s=2, policy__trigger="interval", priority=7)
    want(fleet, GROUP, "north", sync__interval_s=3, sync__ack_timeout_s=3)
    want(fleet, DEVICE, "a", sync__interval_s=4)
    twin.hear(fleet.pass_time(1.0))
    expected = {"sync.interval_s": 4, "sync.ack_timeout_s": 2, "policy.trigger": "interval", "learner.gate_margin": 1}
    assert twin.values == expected
    assert {key: (one.scope, one.name) for key, one in view(fleet, "a").wanted.items()} == {
        "sync.interval_s": (DEVICE, "a"),
        "sync.ack_timeout_s": (GROUP, "slow"),
        "policy.trigger": (GROUP, "slow"),
        "learner.gate_margin": (FLEET, ""),
    }
    with fleet.store.transaction():
        set_tags(fleet.store, ["a"], {}, ["line"])
    assert twin.hear(fleet.pass_time(20.0)), "it has left the group"
    assert twin.values == expected | {"sync.ack_timeout_s": 3, "policy.trigger": "labels"}


def test_groups_of_one_priority_the_last_change_wins() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    with fleet.store.transaction():
        for name in ("x", "y"):
            put_list_group(fleet.store, name, ["a"], [], 0.0)
    want(fleet, GROUP, "y", sync__interval_s=2)
    want(fleet, GROUP, "x", sync__interval_s=1)
    twin.hear(fleet.pass_time(1.0))
    assert twin.values == {"sync.interval_s": 1}
    want(fleet, GROUP, "y", sync__ack_timeout_s=9)
    twin.hear(fleet.pass_time(1.0))
    assert twin.values == {"sync.interval_s": 2, "sync.ack_timeout_s": 9}


def test_a_refused_value_is_shown_with_the_reason_and_found_by_a_filter() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a", refuses="sync.interval_s")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=1)
    twin.hear(fleet.pass_time(1.0))
    twin.tell()
    seen = view(fleet, "a")
    (difference,) = seen.differences
    assert (seen.words, difference.wanted, difference.reported, difference.reason) == ("refused", 1, 60.0, "too small")
    assert found(fleet, "settings_refused and not settings_pending") == ["a"]
    want(fleet, DEVICE, "a", "sync.interval_s")
    assert found(fleet, "settings_refused") == ["a"], "until it has answered"
    twin.hear(fleet.pass_time(1.0))
    twin.tell()
    assert found(fleet, "settings_refused") == []


def test_taken_back_values_are_sent_as_none() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    twin.hear(fleet.pass_time(1.0))
    want(fleet, DEVICE, "a", "sync.interval_s")
    assert twin.hear(fleet.pass_time(1.0))
    assert (twin.version, twin.values) == (2, {})


def test_a_restart_forgets_nothing_and_a_new_connection_sends_again() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    fleet.restart()  # killed before it was sent
    assert twin.hear(fleet.pass_time(1.0))
    with fleet.store.transaction():
        fleet.core.connected(fleet.instant)
    assert twin.hear(fleet.pass_time(1.0)), "the broker may have lost it"
    assert twin.version == 1


def test_a_device_that_lost_its_own_is_told_again() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    twin.hear(fleet.pass_time(1.0))
    twin.tell()
    twin.version, twin.values = 0, {}  # its card was changed
    twin.tell()
    assert twin.hear(fleet.pass_time(1.0))
    assert twin.values == {"sync.interval_s": 5}


def test_a_removed_device_leaves_nothing_behind() -> None:
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    fleet.pass_time(1.0)
    with fleet.store.transaction():
        fleet.store.request_removal("a", 0.0)
    effects = fleet.pass_time(1.0)
    cleared = {parse_topic(one.topic).kind for one in effects if isinstance(one, Outgoing) and not one.payload}
    assert {Kind.CONFIGURATION, Kind.CONFIGURATION_STATE} <= cleared
    with fleet.store.transaction():
        assert fleet.store.rows(WANTED_SETTINGS).all() == []
        assert fleet.store.rows(SENT_SETTINGS).all() == []


@pytest.mark.parametrize(
    ("scope", "name", "values", "reason"),
    [
        (DEVICE, "nobody", {"sync__interval_s": 1}, "no device"),
        (GROUP, "nobody", {"sync__interval_s": 1}, "no group"),
        (DEVICE, "a", {"sync__intervall_s": 1}, "sync.interval_s"),
        (DEVICE, "a", {"interval": 1}, "table.key"),
        (DEVICE, "a", {"sync__interval_s": float("nan")}, "got nan"),
        (DEVICE, "a", {"policy__trigger": "x" * 300}, "256"),
    ],
)
def test_what_nobody_can_take_is_refused_at_once(scope: str, name: str, values: dict[str, Any], reason: str) -> None:
    fleet = Fleet()
    Twin(fleet, "a").tell()
    with pytest.raises(ConfigError, match=reason):
        want(fleet, scope, name, **values)


def test_a_thousand_devices_are_told_in_turns() -> None:
    fleet = Fleet()
    twins = [Twin(fleet, f"d{number}") for number in range(450)]
    for twin in twins:
        twin.tell()
    want(fleet, FLEET, "", sync__interval_s=5)
    counts = [len(sent(fleet.pass_time(1.0))) for _ in range(4)]
    assert counts == [200, 200, 50, 0]


def test_a_device_that_seems_to_try_for_long_is_asked_again() -> None:
    """Its last word may have come before an earlier one."""
    fleet = Fleet()
    twin = Twin(fleet, "a")
    twin.tell()
    want(fleet, DEVICE, "a", sync__interval_s=5)
    twin.hear(fleet.pass_time(1.0))
    twin.tell()
    tries = ConfigurationState(1, "trial", OWN | twin.values, ("sync.interval_s",))
    fleet.send(Received(topic(PLANT, "a", Kind.CONFIGURATION_STATE), tries.encode(), retain=True))
    assert view(fleet, "a").words == "trial"
    assert not sent(fleet.pass_time(500.0))
    assert twin.hear(fleet.pass_time(200.0))
    twin.tell()
    assert view(fleet, "a").words == "applied"
    assert not sent(fleet.pass_time(5000.0))


@pytest.mark.parametrize("known_before", [False, True])
def test_settings_that_this_store_never_sent_are_taken_back(known_before: bool) -> None:
    """The store was lost, or is of an older day, or the device was removed and comes back."""
    fleet = Fleet()
    twin = Twin(fleet, "a")
    if known_before:
        twin.tell()
        fleet.pass_time(1.0)
    twin.version, twin.values = 3, {"sync.interval_s": 5}
    twin.tell()
    assert view(fleet, "a").words == "pending"
    assert twin.hear(fleet.pass_time(20.0))
    assert (twin.version, twin.values) == (4, {})
    twin.tell()
    assert view(fleet, "a").words == "applied"
    assert not sent(fleet.pass_time(1000.0)), "told once"
    want(fleet, DEVICE, "a", sync__interval_s=7)
    assert twin.hear(fleet.pass_time(1.0))
    assert (twin.version, twin.values) == (5, {"sync.interval_s": 7})
