"""docs/howto/sensors.md: what it shows is read as it stands, and its function cuts windows."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converter.recipe import read_stream
from edge_agent.source_settings import SourceSettings
from edge_agent.sources.building import source_factory
from edge_agent.sources.decoding import build_decoder
from headway.errors import ConfigError
from headway.fields import Fields
from headway.ports import SystemClock
from headway.settings import settings_from
from headway.stream import Channel, StreamFormat

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "sensors.md").read_text()
BLOCKS = [block.split("```")[0] for block in PAGE.split("```toml\n")[1:]]
SOURCES = [block for block in BLOCKS if block.startswith("[source]")]


def test_windows_are_cut_as_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stream.toml").write_text(BLOCKS[0])
    code = PAGE.split("```python\n")[1].split("```")[0]
    times_s = np.arange(300) / 100.0
    given = {"numpy": np, "times_s": times_s, "rows": np.ones((300, 3)), "labels_at": lambda starts: starts > 1}
    exec(compile(code, "sensors.md", "exec"), given)
    assert np.load("train.npz")["x"].shape == (3, 128, 3)
    assert read_stream(Path("stream.toml")).channels[0] == Channel("x", "m/s2")


@pytest.mark.parametrize(
    "block",
    SOURCES,
    ids=["lines", "microphone", "serial", "iio", "zigbee2mqtt", "statestream", "windows", "ppm", "frames", "http"],
)
def test_every_source_of_the_page_is_accepted(block: str, tmp_path: Path) -> None:
    fields = Fields(tomllib.loads(block), "sensors.md", ConfigError)
    settings = settings_from(SourceSettings, fields.table("source"))
    stream = StreamFormat((Channel("sound"),), 16000.0, 16, 16)
    if settings.kind == "http":
        (tmp_path / "token").write_text("0123456789abcdef")
        settings = replace(settings, token_file=tmp_path / "token")
    source_factory(settings.kind)(settings, stream, SystemClock())
    if settings.kind in ("iio", "serial", "http") or settings.each == "window":
        return  # they are read in tests of their own
    decoder = build_decoder(settings, stream, SystemClock())
    sample = {
        "csv": b"0.5,1,2,3\n",
        "int16": b"\1\0",
        "json": b'{"humidity": 40, "temperature": 21.5, "battery": 97}\n',
    }
    rows = decoder.feed(sample[settings.format])
    assert rows.values.tolist() == [{"csv": [1, 2, 3], "int16": [1], "json": [21.5, 40]}[settings.format]]
