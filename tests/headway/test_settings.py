"""Settings are declared at the field: what the reader takes, what it refuses, and what it says of old keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, replace
from enum import StrEnum
from pathlib import Path

import pytest

from headway.errors import ConfigError
from headway.fields import Fields
from headway.settings import (
    boolean,
    check,
    choice,
    entries,
    integer,
    limits,
    names,
    number,
    optional_path,
    optional_table,
    path,
    read_toml,
    settings_from,
    table,
    text,
    texts,
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Pump:
    rate_s: float = number(1.0, low=0.5, high=60, doc="Seconds between two strokes.")
    strokes_max: int = integer(10, low=1, high=100_000, doc="Strokes of one run.")
    trigger: str = choice("always", ("always", "never"), formerly="train", doc="When it runs.")


@dataclass(frozen=True, slots=True)
class Inline:
    pressure: float = number(2.0, low=0, high=9, key="gauge.pressure", doc="Bar.")


@dataclass(frozen=True, slots=True)
class Plant:
    name: str = text(key="site.name", length_max=8, doc="Its name.")
    fleet: str = text(in_file="default", key="site.fleet", doc="Its fleet.")
    model: Path = path(key="files.model", doc="Its model.")
    spool: Path = path("spool", key="files.spool", doc="Its spool.")
    key: Path | None = optional_path(key="files.key", doc="Its key.", example="key.pem")
    colour: Colour = choice(Colour.RED, tuple(Colour), doc="Its colour.")
    loud: bool = boolean(False, doc="Whether it is loud.")
    tags: tuple[str, ...] = texts(("a",), choices=("a", "b"), count_max=2, doc="Its tags.")
    aliases: Mapping[str, str] = names(doc="Other names.", example={"p": "pump"})
    inline: Inline = table(Inline())
    pump: Pump = table(Pump(rate_s=2.0), "pump", doc="The pump.")
    spare: Pump | None = optional_table(Pump, "spare", doc="Another pump.")


GIVEN: dict[str, object] = {"site": {"name": "north"}, "files": {"model": "m.hwb"}}


def read(base: Path = Path("/etc"), **more: object) -> Plant:
    return settings_from(Plant, Fields({**GIVEN, **more}, "plant.toml", ConfigError), base=base)


def test_what_is_left_out_is_as_declared() -> None:
    plant = read()
    assert plant == Plant("north", "default", Path("/etc/m.hwb"), spool=Path("/etc/spool"))
    assert (plant.key, plant.colour, plant.tags, plant.spare) == (None, Colour.RED, ("a",), None)
    assert plant.pump == Pump(rate_s=2.0), "the default of a table is the declared one, not its class's"


def test_every_kind_is_read_from_its_place() -> None:
    plant = read(
        site={"name": "south", "fleet": "f"},
        files={"model": "/m.hwb", "key": "k.pem"},
        colour="blue",
        loud=True,
        tags=["b", "a"],
        aliases={"p": "pump"},
        gauge={"pressure": 3},
        pump={"strokes_max": 7},
        spare={},
    )
    assert (plant.name, plant.fleet, plant.model, plant.key) == ("south", "f", Path("/m.hwb"), Path("/etc/k.pem"))
    assert plant.colour is Colour.BLUE
    assert (plant.loud, plant.tags, plant.aliases) == (True, ("b", "a"), {"p": "pump"})
    assert plant.inline.pressure == 3.0
    assert plant.pump == Pump(rate_s=2.0, strokes_max=7)
    assert plant.spare == Pump()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"colur": "red"}, "unknown key 'colur' in plant.toml; did you mean 'colour'?"),
        ({"pump": {"rate": 1}}, "unknown key 'rate' in pump of plant.toml; did you mean 'rate_s'?"),
        ({"gauge": {"presure": 1}}, "unknown key 'presure' in gauge of plant.toml; did you mean 'pressure'?"),
        ({"site": {"name": "n", "fleets": "f"}}, "unknown key 'fleets' in site of plant.toml; did you mean 'fleet'?"),
        ({"site": {}}, "site of plant.toml lacks 'name'"),
        ({"files": {}}, "files of plant.toml lacks 'model'"),
        ({"site": {"name": "a name too long"}}, "name of site of plant.toml must be text of at most 8 characters"),
        ({"site": {"name": 3}}, "must be text of at most 8 characters, got 3"),
        ({"files": {"model": 3}}, "model of files of plant.toml must be text"),
        ({"pump": {"rate_s": 0.1}}, "rate_s of pump of plant.toml must be a number from 0.5 to 60, got 0.1"),
        ({"pump": {"rate_s": float("nan")}}, "rate_s of pump of plant.toml must be a finite number, got nan"),
        ({"pump": {"strokes_max": 0}}, "must be a whole number from 1 to 100000, got 0"),
        ({"pump": {"strokes_max": 1.5}}, "must be a whole number from 1 to 100000, got 1.5"),
        ({"pump": {"strokes_max": True}}, "must be a whole number from 1 to 100000, got True"),
        ({"pump": 3}, "pump of plant.toml must be a table, got 3"),
        ({"colour": "redd"}, "colour of plant.toml must be one of red, blue; did you mean 'red'?, got 'redd'"),
        ({"loud": 1}, "loud of plant.toml must be true or false, got 1"),
        ({"tags": ["c"]}, "tags of plant.toml has 'c'; known: a, b"),
        ({"tags": ["a", "b", "a"]}, "tags of plant.toml must be a list of at most 2 texts"),
        ({"aliases": {"p": 3}}, "aliases of plant.toml maps 'p' to 3; give a text"),
        ({"aliases": "p"}, "aliases of plant.toml must be a table"),
        ({"spare": {"rate_s": 99}}, "rate_s of spare of plant.toml must be a number from 0.5 to 60, got 99"),
    ],
)
def test_each_mistake_is_one_line_with_value_and_limit(more: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_key_is_read_with_one_warning_that_names_the_new_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(pump={"train": "never"}).pump.trigger == "never"
    assert [record.getMessage() for record in caplog.records] == [
        "train of pump of plant.toml is now called trigger; the old name is read for one release"
    ]


def test_a_new_key_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert read(pump={"trigger": "never"}).pump.trigger == "never"
    assert caplog.records == []


def test_an_old_key_beside_the_new_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="pump of plant.toml has 'train' beside 'trigger', which is its new name"):
        read(pump={"train": "never", "trigger": "never"})


def test_a_mistake_under_an_old_key_is_refused_under_the_new_one() -> None:
    with pytest.raises(ConfigError, match="trigger of pump of plant.toml must be one of always, never"):
        read(pump={"train": "sometimes"})


def test_old_keys_are_not_suggested() -> None:
    with pytest.raises(ConfigError) as caught:
        read(pump={"trains": "never"})
    assert "'train'" not in str(caught.value)


def test_what_is_given_in_python_stays_plain_and_frozen() -> None:
    pump = replace(Pump(), trigger="never")
    assert (pump.rate_s, pump.trigger) == (1.0, "never")
    with pytest.raises(FrozenInstanceError):
        pump.rate_s = 3.0  # type: ignore[misc]


def test_entries_name_table_key_limits_and_default() -> None:
    found = {entry.name: entry for entry in entries(Plant) if entry.table != "spare"}
    assert (found["name"].table, found["name"].key, found["name"].required) == ("site", "name", True)
    assert (found["fleet"].default, found["fleet"].required) == ("default", False)
    assert (found["rate_s"].table, found["rate_s"].default, limits(found["rate_s"].setting)) == (
        "pump",
        2.0,
        "0.5 to 60",
    )
    assert limits(found["strokes_max"].setting) == "1 to 100,000"
    assert limits(found["colour"].setting) == '"red", "blue"'
    assert (found["pressure"].table, found["pressure"].key) == ("gauge", "pressure")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[pump", "is not valid TOML"),
        (b"\xff", "is no UTF-8 from byte 0 on; save it"),
        (b"a=" + b"[" * 9999, "deeply"),
        (None, "No such file or directory; check"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "plant.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    assert message in str(caught.value)
    assert "plant.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate_s": 0.1}, "rate_s 0.1 must be from 0.5 to 60"),
        ({"rate_s": float("nan")}, "rate_s nan must be from 0.5 to 60"),
        ({"strokes_max": 0}, "strokes_max 0 must be from 1 to 100,000"),
        ({"trigger": "alway"}, "trigger 'alway' is unknown; did you mean 'always'?"),
    ],
)
def test_what_python_code_gives_is_held_to_the_limits_too(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(Pump(**given))  # type: ignore[arg-type]
    assert str(caught.value) == message
