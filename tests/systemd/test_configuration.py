"""The page and the examples say what the settings declare, and everything in them can be used."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.config import MQTT_DEFAULT, read_settings
from aggregator.policy import Policy
from aggregator.region_settings import RegionSettings
from converter.options import Options
from edge_agent.config import AgentConfig, SyncSettings, read_config
from edge_agent.delivery_settings import DeliverySettings
from edge_agent.learner_settings import LearnerSettings, PolicySettings
from headway.settings import Kind, entries, optional_tables
from scripts.configuration import PAGE, PROGRAMS, Program, files

UNITS = {"s": "second", "bytes": "byte", "ms": "millisecond", "c": "celsius", "percent": "percent", "points": "point"}
programs = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.example.name)


def uncommented(program: Program, tmp_path: Path) -> Path:
    """The example with every setting in force."""
    path = tmp_path / program.example.name
    path.write_text(re.sub(r"(?m)^#(?=[\w\[])", "", program.example.read_text()))
    return path


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_the_file_says_what_the_settings_declare(path: Path) -> None:
    assert path.read_text() == files()[path], f"run: make configuration ({path.name} is not what it writes)"


@programs
def test_every_key_is_in_the_example_and_no_other(program: Program, tmp_path: Path) -> None:
    found = tomllib.loads(uncommented(program, tmp_path).read_text())
    expected = {(entry.table, entry.key) for entry in entries(program.settings)}
    assert {(table, key) for table, group in found.items() for key in group} == expected


@programs
def test_what_need_not_be_given_is_commented_out(program: Program) -> None:
    found = tomllib.loads(program.example.read_text())
    assert {f"{table}.{key}" for table, group in found.items() for key in group} == set(program.shown)
    assert optional_tables(program.settings) & set(found) <= {place.split(".")[0] for place in program.shown}
    required = {f"{entry.table}.{entry.key}" for entry in entries(program.settings) if entry.required}
    assert required <= set(program.shown)


def test_the_agents_example_works_with_every_line_in_force_and_shows_the_defaults(tmp_path: Path) -> None:
    program = next(program for program in PROGRAMS if program.settings is AgentConfig)
    config = read_config(uncommented(program, tmp_path))
    keys = SyncSettings(head_keys=Path("/etc/headway/head-keys.pub"))
    defaults = (LearnerSettings(), PolicySettings(), keys, DeliverySettings())
    assert (config.learner, config.policy, config.sync, config.delivery) == defaults
    assert config.sensor.label_map == {"gehen": "walk", "laufen": "run"}
    assert config.public_key == Path("/etc/headway/signing.pem.pub")
    assert config.mqtt is not None
    assert (config.mqtt.tls, config.mqtt.alpn, config.mqtt.receive_max) == (True, ("mqtt",), 20)


def test_the_aggregators_example_works_with_every_line_in_force_and_shows_the_defaults(tmp_path: Path) -> None:
    program = next(program for program in PROGRAMS if program.settings is not AgentConfig)
    settings = read_settings(uncommented(program, tmp_path))
    # the example names a region, which is none by default
    assert replace(settings.policy, region=RegionSettings()) == Policy()
    assert settings.mqtt.receive_max == MQTT_DEFAULT.receive_max
    assert settings.mqtt.username == "aggregator"


def test_every_key_and_option_is_on_the_page() -> None:
    page = PAGE.read_text()
    for declared in (*(program.settings for program in PROGRAMS), Options):
        for entry in entries(declared):
            assert f"| `{entry.key}` |" in page, f"{entry.table} {entry.key} is not on {PAGE.name}"


@pytest.mark.parametrize("settings", [*(program.settings for program in PROGRAMS), Options])
def test_every_setting_has_a_sentence_that_names_its_unit(settings: type) -> None:
    for entry in entries(settings):
        text = entry.setting.doc
        assert re.fullmatch(r'[A-Z"].{10,}\.', text), f"{entry.name}: {text!r} is no sentence"
        for suffix, unit in UNITS.items():
            if f"_{suffix}_" in f"{entry.name}_" and entry.setting.kind in (Kind.INTEGER, Kind.NUMBER):
                assert unit in text.lower(), f"{entry.name} is not said to be in {unit}s"


@pytest.mark.parametrize("settings", [*(program.settings for program in PROGRAMS), Options])
def test_every_default_is_within_its_limits(settings: type) -> None:
    for entry in entries(settings):
        if isinstance(entry.default, (int, float)) and entry.setting.kind is not Kind.BOOLEAN:
            assert entry.setting.low <= entry.default <= entry.setting.high, entry.name
        if entry.setting.kind is Kind.CHOICE:
            assert entry.default in entry.setting.choices, entry.name
