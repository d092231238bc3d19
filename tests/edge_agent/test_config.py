"""agent.toml: what is accepted, and how clearly the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import read_config, read_learner_settings
from edge_agent.learner_settings import LearnerSettings
from headway.errors import ConfigError

MINIMAL = '[device]\nid = "pump-7"\n[bundle]\npath = "model.hwb"\n[storage]\nstate_dir = "state"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def test_three_settings_are_enough_and_mean_offline(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, MINIMAL))
    assert config.device == "pump-7"
    assert config.bundle == tmp_path / "model.hwb"
    assert config.sensor.spool_dir == tmp_path / "spool"
    assert config.learner.kind == "auto"
    assert config.mqtt is None


def test_the_broker_is_read(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, MINIMAL + '[mqtt]\nhost = "broker"\nport = 8883\ntls = true\n'))
    assert config.mqtt is not None
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.tls) == ("broker", 8883, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[device]\nid = 3\n", "id of device of agent.toml must be text"),
        (MINIMAL.replace("pump-7", "a/b"), "device id 'a/b' is not a valid name"),
        (MINIMAL + "[sensors]\n", "unknown key 'sensors' in agent.toml; did you mean 'sensor'?"),
        (MINIMAL + "[learner]\nkind = 'exakt'\n", "did you mean 'exact'?"),
        (MINIMAL + "[sync]\ninterval = 5\n", "did you mean 'interval_s'?"),
        (MINIMAL + "[sync]\ninterval_s = -5\n", "got -5"),
        (MINIMAL + "[mqtt]\nreconnect_max_s = 0.1\n", "reconnect_max_s 0.1 is below"),
        (MINIMAL + '[sensor]\nspool_dir = "state"\n', "is the spool's, or that of answers"),
        (MINIMAL + '[sensor]\npredictions_dir = "state"\n', "is the spool's, or that of answers"),
        ("[device", "is not valid TOML"),
        ("", "device of agent.toml lacks 'id'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "agent.toml")


def test_the_keys_of_the_release_before_are_read_with_a_warning_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = '[learner]\ntrain = "batch"\nsource_worth = 2.0\n[policy]\ntrain = "drift"\n'
    config = read_config(write(tmp_path, MINIMAL + old))
    assert (config.learner.schedule, config.learner.training_worth, config.policy.trigger) == ("batch", 2.0, "drift")
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(";")[0] for line in said] == [
        "train of learner of agent.toml is now called schedule",
        "source_worth of learner of agent.toml is now called training_worth",
        "train of policy of agent.toml is now called trigger",
    ]


def test_a_replay_reads_the_learner_table_alone(tmp_path: Path) -> None:
    path = write(tmp_path, '[learner]\nkind = "gradient"\n[elsewhere]\nx = 1\n')
    assert read_learner_settings(path) == LearnerSettings(kind="gradient")
    with pytest.raises(ConfigError, match="did you mean 'kind'"):
        read_learner_settings(write(tmp_path, '[learner]\nkid = "gradient"\n'))


def test_a_program_that_embeds_a_learner_is_held_to_the_limits_too() -> None:
    with pytest.raises(ConfigError, match="gate_errors -1 must be from 0 to 10"):
        LearnerSettings(gate_errors=-1)
    with pytest.raises(ConfigError, match="kind 'exakt' is unknown; did you mean 'exact'?"):
        LearnerSettings(kind="exakt")


def test_a_file_of_an_editor_on_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert read_config(tmp_path / "agent.toml").device == "pump-7"
