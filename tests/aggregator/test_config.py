"""The configuration file: the shipped example, the defaults, and one line for each mistake."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from aggregator.config import read_settings
from aggregator.policy import Limits, Method, Policy
from headway.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "systemd" / "aggregator.toml"
MINIMAL = '[fleet]\nname = "plant"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "/s"\n'


def test_the_example_is_valid_and_spells_out_the_defaults() -> None:
    settings = read_settings(EXAMPLE)
    assert settings.policy == Policy()
    assert settings.database.startswith("sqlite:////var/lib/headway-aggregator/")
    spelt_out = re.sub(r"(?m)^#(?=\w)", "", EXAMPLE.read_text())
    mentioned = {key for table in tomllib.loads(spelt_out).values() for key in table}
    assert {"method", "interval_s", "updates_min", "clip_norm", "devices_max"} <= mentioned


def test_a_minimal_file_takes_every_default(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(MINIMAL)
    settings = read_settings(path)
    assert settings.policy == Policy()
    assert settings.mqtt.receive_max == 1000
    assert settings.database == "sqlite:////s/aggregator.sqlite"


def test_every_limit_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(MINIMAL + "[limits]\n" + "".join(f"{field.name} = 7\n" for field in fields(Limits)))
    assert read_settings(path).policy.limits == Limits(*[7] * len(fields(Limits)))


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("sqlite:///fleet.sqlite", "sqlite:///{folder}/fleet.sqlite"),
        ("sqlite+pysqlite:///data/fleet.sqlite?timeout=3", "sqlite+pysqlite:///{folder}/data/fleet.sqlite?timeout=3"),
        ("sqlite:////var/fleet.sqlite", "sqlite:////var/fleet.sqlite"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://fleet@db/fleet", "postgresql://fleet@db/fleet"),
    ],
)
def test_a_relative_database_counts_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, database: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "a.toml").write_text(MINIMAL + f'database_url = "{url}"\n')
    assert read_settings(tmp_path / "a.toml").database == database.format(folder=tmp_path)
    assert read_settings(Path("../a.toml")).database == database.format(folder=tmp_path)


def test_a_database_that_is_only_in_the_working_directory_is_taken_for_one_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "fleet.sqlite").touch()
    (tmp_path / "a.toml").write_text(MINIMAL + 'database_url = "sqlite:///fleet.sqlite"\n')
    assert read_settings(tmp_path / "a.toml").database == f"sqlite:///{here}/fleet.sqlite"
    assert f"{tmp_path}/fleet.sqlite does not exist, so {here}/fleet.sqlite is taken" in caplog.text


def test_an_option_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(MINIMAL + '[mqtt]\nport = 1884\nhost = "broker"\n')
    settings = read_settings(path, {("mqtt", "port"): 1999, ("publish", "method"): "average"})
    assert (settings.mqtt.host, settings.mqtt.port, settings.policy.method) == ("broker", 1999, Method.AVERAGE)


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[publish]\nintervall_s = 3", "unknown key 'intervall_s' in publish of a.toml; did you mean 'interval_s'?"),
        ("[publisch]\nmethod = 'exact'", "unknown key 'publisch' in a.toml; did you mean 'publish'?"),
        ("[publish]\nmethod = 'exakt'", "did you mean 'exact'?"),
        ("[publish]\ninterval_s = -1", "a number from 0 to 86400, got -1"),
        ("[averaging]\nupdates_min = 0", "updates_min of averaging of a.toml"),
        ("[limits]\ndevices_max = 'many'", "a whole number"),
        ("[mqtt]\nport = 70000", "port of mqtt of a.toml"),
        ("publish = 3", "publish of a.toml must be a table"),
        ("[publish", "a.toml is not valid TOML"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, addition: str, message: str) -> None:
    path = tmp_path / "a.toml"
    body = addition + "\n" + MINIMAL if addition.startswith("publish =") else MINIMAL + addition
    path.write_text(body)
    with pytest.raises(ConfigError) as raised:
        read_settings(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_names_that_break_a_topic_are_refused() -> None:
    given = {("fleet", "name"): "a/b", ("bundle", "path"): "m.hwb", ("storage", "state_dir"): "/s"}
    with pytest.raises(ConfigError, match="fleet 'a/b' is not a valid name"):
        read_settings(None, given)
