"""Settings from afar: decided one by one, kept over restarts, tried, and taken back where the device fails so."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import AgentConfig
from edge_agent.remote import FILE, RemoteConfiguration, in_force, read_kept
from edge_agent.remote.effective import REMOTE
from edge_agent.remote.remote_configuration import STARTS_MAX
from headway.errors import RemoteError, StoreError
from headway.wire import Configuration, ConfigurationState, SettingValue

OWN = """
[device]
id = "wrist-1"
[bundle]
path = "model.hwb"
[storage]
state_dir = "state"
[sync]
interval_s = 30
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    path = tmp_path / "agent.toml"
    path.write_text(OWN)
    return path


def told(remote: RemoteConfiguration, config: AgentConfig) -> ConfigurationState:
    return ConfigurationState.decode(remote.state(config))


def ask(remote: RemoteConfiguration, version: int, **values: SettingValue) -> bool:
    """What the aggregator wants; names with two underscores for the dot. True when something is to be told."""
    remote.receive(Configuration(version, {name.replace("__", "."): value for name, value in values.items()}).encode())
    return remote.turn(0.0, bundle_on_trial=False)


def started(file: Path) -> tuple[RemoteConfiguration, AgentConfig]:
    remote = RemoteConfiguration(file)
    config = remote.begin()
    remote.began(0.0)
    return remote, config


def test_without_anything_from_afar_the_file_holds(file: Path) -> None:
    remote, config = started(file)
    state = told(remote, config)
    assert (state.version, state.state, state.remote, state.refused) == (0, "applied", (), {})
    assert state.values["sync.interval_s"] == 30
    assert not (file.parent / "state" / FILE).exists()


def test_values_are_in_force_after_the_next_start_and_after_every_one(file: Path) -> None:
    remote, _ = started(file)
    assert not ask(remote, 1, sync__interval_s=5, policy__trigger="labels"), "it tells once it works so"
    assert remote.restart
    config = remote.begin()
    assert (config.sync.interval_s, config.policy.trigger) == (5.0, "labels")
    state = told(remote, config)
    assert (state.version, state.state, state.remote) == (1, "trial", ("policy.trigger", "sync.interval_s"))
    remote.began(0.0)
    assert not remote.turn(config.remote.trial_s - 1, bundle_on_trial=False)
    assert remote.turn(config.remote.trial_s, bundle_on_trial=False)
    assert told(remote, config).state == "applied"
    again, config = started(file)  # another process, no network
    assert (config.sync.interval_s, told(again, config).state) == (5.0, "applied")


def test_a_process_that_has_run_for_long_does_not_confirm_values_that_it_never_ran_with(file: Path) -> None:
    """The loop turns once more while the process ends, to start again with them."""
    remote, _ = started(file)
    remote.receive(Configuration(1, {"sync.interval_s": 5}).encode())
    remote.turn(1e6, bundle_on_trial=False)
    assert remote.restart
    assert not remote.turn(1e6 + 1, bundle_on_trial=False)
    remote.stopped(1e6 + 2)
    kept = read_kept(file.parent / "state")
    assert (kept.confirmed, kept.starts, kept.well_s) == (False, 0, 0.0)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("sync__interval_s", -1, "interval_s"),
        ("sync__interval_s", "soon", "interval_s"),
        ("sync__intervall_s", 5, "sync.interval_s"),
        ("mqtt__host", "evil.example", "own file"),
        ("mqtt__nothing", 1, "unknown"),
        ("bundle__public_key", "", "own file"),
        ("remote__allowed", False, "own file"),
        ("policy__trigger", "never", "trigger"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_reason_and_the_others_hold(
    file: Path, key: str, value: SettingValue, reason: str
) -> None:
    remote, _ = started(file)
    ask(remote, 1, sync__interval_s=7)
    remote.begin()
    remote.began(0.0)
    remote.turn(1e6, bundle_on_trial=False)
    before = read_kept(file.parent / "state").taken
    ask(
        remote,
        2,
        **{"sync__ack_timeout_s": 9, **({} if key == "sync__interval_s" else {"sync__interval_s": 7}), key: value},
    )
    config = remote.begin()
    state = told(remote, config)
    assert reason in state.refused[key.replace("__", ".")]
    assert config.sync.ack_timeout_s == 9
    assert config.sync.interval_s == before["sync.interval_s"], "the old value is kept"


def test_only_what_is_marked_can_be_changed_and_nothing_that_decides_on_trust_or_places() -> None:
    assert {place.split(".")[0] for place in REMOTE} <= {
        "sensor",
        "learner",
        "policy",
        "sync",
        "health",
        "labels_wanted",
    }
    assert "labels_wanted.send_windows" not in REMOTE, "only the device's own file lets raw data leave it"
    assert not [place for place in REMOTE if "dir" in place or "file" in place or "bytes" in place]


def test_every_setting_that_may_be_changed_reads_back_as_it_was_written(file: Path) -> None:
    remote, config = started(file)
    values = in_force(config)
    assert set(values) == set(REMOTE)
    remote.receive(Configuration(3, values).encode())
    assert remote.turn(0.0, bundle_on_trial=False), "nothing changes, so nothing starts again"
    assert not remote.restart
    assert told(remote, config).refused == {}


def test_starts_that_come_to_nothing_take_the_values_back(file: Path) -> None:
    remote, _ = started(file)
    ask(remote, 1, sync__interval_s=7)
    remote.begin()
    remote.began(0.0)
    remote.turn(1e6, bundle_on_trial=False)
    ask(remote, 2, sync__interval_s=9)
    for _ in range(STARTS_MAX):
        remote = RemoteConfiguration(file)  # the process was killed each time
        assert remote.begin().sync.interval_s == 9
    remote = RemoteConfiguration(file)
    config = remote.begin()
    state = told(remote, config)
    assert (config.sync.interval_s, state.version, state.state) == (7, 2, "applied")
    assert "the device failed with it" in state.refused["sync.interval_s"]
    assert not ask(remote, 2, sync__interval_s=9) or not remote.restart, "the retained message does not bring it again"
    assert [name for name, _ in remote.take_notes()] == ["configuration-taken-back"]


def test_starts_that_somebody_ended_are_no_failures(file: Path) -> None:
    remote, _ = started(file)
    ask(remote, 1, sync__interval_s=9)
    for _ in range(3 * STARTS_MAX):
        remote, config = started(file)
        assert config.sync.interval_s == 9
        remote.stopped(1.0)
    remote, config = started(file)
    assert remote.turn(config.remote.trial_s - 3 * STARTS_MAX, bundle_on_trial=False), "what it ran well is added up"
    assert not remote.on_trial


def test_a_start_that_fails_at_once_takes_the_values_back(file: Path) -> None:
    remote, _ = started(file)
    ask(remote, 1, sync__interval_s=9)
    remote.begin()
    assert remote.failed("no such thermal zone")
    assert remote.begin().sync.interval_s == 30
    assert not remote.failed("the disk is gone"), "nothing is on trial any more"


def test_bundle_and_settings_are_never_on_trial_together(file: Path) -> None:
    remote, config = started(file)
    remote.receive(Configuration(1, {"sync.interval_s": 9}).encode())
    assert remote.turn(0.0, bundle_on_trial=True)
    state = told(remote, config)
    assert (state.version, state.state, state.problem) == (0, "waiting", "a bundle is on trial")
    assert not remote.turn(1.0, bundle_on_trial=True), "told once"
    remote.turn(2.0, bundle_on_trial=False)
    assert remote.restart


def test_an_empty_message_gives_the_file_its_say_again(file: Path) -> None:
    remote, _ = started(file)
    ask(remote, 1, sync__interval_s=9)
    remote.begin()
    remote.began(0.0)
    remote.turn(1e6, bundle_on_trial=False)
    remote.receive(b"")
    remote.turn(1e6, bundle_on_trial=False)
    assert remote.begin().sync.interval_s == 30


def test_a_device_may_refuse_everything(file: Path) -> None:
    file.write_text(OWN + "[remote]\nallowed = false\n")
    remote, config = started(file)
    ask(remote, 4, sync__interval_s=9)
    assert not remote.restart
    state = told(remote, config)
    assert "allowed = false" in state.refused["sync.interval_s"]
    assert state.version == 4


def test_a_file_that_changed_since_wins_where_both_do_not_fit(file: Path) -> None:
    remote, _ = started(file)
    ask(remote, 1, sync__interval_s=9)
    kept = (file.parent / "state" / FILE).read_bytes()
    (file.parent / "state" / FILE).write_bytes(kept[:-3] + b"???")
    remote = RemoteConfiguration(file)
    assert remote.begin().sync.interval_s == 30, "a damaged file is none"
    assert [name for name, _ in remote.take_notes()] == ["configuration-lost"]
    with pytest.raises(StoreError, match="check sum"):
        read_kept(file.parent / "state")


def test_what_is_no_configuration_is_refused_and_changes_nothing(file: Path) -> None:
    remote, _ = started(file)
    for payload in (
        b"{",
        b'{"schema": 2}',
        b'{"schema":1,"version":1,"values":{"x":1}}',
        b'{"schema":1,"version":1,"values":{},"more":1}',
    ):
        with pytest.raises(RemoteError):
            remote.receive(payload)
    assert not remote.turn(0.0, bundle_on_trial=False)
