"""docs/howto/vibration.md and microphone.md: their settings are read, and sensors like theirs give such windows."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from converter.recipe import read_stream
from edge_agent.config import SensorSettings
from edge_agent.sensors import Spool, WindowFormat
from edge_agent.source_settings import SourceSettings
from edge_agent.sources import iio, iio_buffer
from edge_agent.sources.iio import IndustrialIO
from edge_agent.sources.pipes import Command
from headway.errors import ConfigError, DataError
from headway.fields import Fields
from headway.maths import TimeAxis
from headway.ports import SystemClock
from headway.settings import settings_from
from headway.stream import StreamFormat
from headway.windower import Windower
from tests.edge_agent.test_spool_formats import wav

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def blocks(page: str, kind: str) -> list[str]:
    return [block.split("```")[0] for block in (HOWTO / page).read_text().split(f"```{kind}\n")[1:]]


def page(name: str, folder: Path) -> tuple[StreamFormat, SourceSettings]:
    """The stream and the source that a page shows."""
    recipe, source = blocks(name, "toml")
    (folder / "stream.toml").write_text(recipe)
    fields = Fields(tomllib.loads(source), name, ConfigError)
    return read_stream(folder / "stream.toml"), settings_from(SourceSettings, fields.table("source"))


def test_the_vibration_sensor_gives_its_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its script enables the buffer of a folder that stands for the device's, a FIFO gives a second of scans."""
    stream, settings = page("vibration.md", tmp_path)
    device = tmp_path / "iio:device0"
    (device / "scan_elements").mkdir(parents=True)
    (device / "buffer").mkdir()
    files = {"name": "lis3dh", "in_accel_scale": "0.01", "sampling_frequency": "1", "buffer/enable": "0"}
    for index, name in enumerate(("accel_x", "accel_y", "accel_z", "timestamp")):
        of_type = "le:s64/64>>0" if name == "timestamp" else "le:s16/16>>0"
        files |= {f"in_{name}_raw": "0", f"scan_elements/in_{name}_en": "0"}
        files |= {f"scan_elements/in_{name}_index": str(index), f"scan_elements/in_{name}_type": of_type}
    for name, content in {**files, "buffer/length": "2"}.items():
        (device / name).write_text(content + "\n")
    (tmp_path / "enable.sh").write_text(blocks("vibration.md", "sh")[0])
    subprocess.run(["sh", tmp_path / "enable.sh"], env={**os.environ, "IIO_DEVICE": str(device)}, check=True)
    assert (device / "buffer" / "enable").read_text().strip() == "1"
    (tmp_path / "dev").mkdir()
    os.mkfifo(node := tmp_path / "dev" / "iio:device0")
    far = os.open(node, os.O_RDWR)
    monkeypatch.setattr(iio, "DEVICES", tmp_path)
    monkeypatch.setattr(iio_buffer, "DEVICE_NODES", tmp_path / "dev")
    source, windower = IndustrialIO(settings, stream, SystemClock()), Windower(stream)
    arrangement, rows, starts = stream.arrangement(source.channels, source.units), source.rows(), 0
    for at in range(0, 400, 50):
        scans = range(at, at + 50)
        os.write(far, b"".join(struct.pack("<hhhxxq", row, -row, 100, 10**9 + row * 2_500_000) for row in scans))
        got = next(rows)
        windows = windower.push(got.times_s, arrangement.apply(got.values))
        for window in windows.values:
            assert_allclose(window[:, 0], 0.01 * (starts * stream.hop + np.arange(256)), atol=1e-3)
            assert_allclose(window[:, 2], 1.0)
            starts += 1
    assert starts == 2
    source.close()
    assert list(rows) == []
    os.close(far)


def test_the_microphone_and_its_recordings_give_the_same_windows(tmp_path: Path) -> None:
    """A command that prints what arecord would stands in for it."""
    stream, settings = page("microphone.md", tmp_path)
    samples = (np.sin(np.arange(24_000) / 7.0) * 20_000).astype("<i2")
    (tmp_path / "sound.raw").write_bytes(samples.tobytes())
    copy = f"import shutil, sys; shutil.copyfileobj(open({str(tmp_path / 'sound.raw')!r}, 'rb'), sys.stdout.buffer)"
    source = Command(replace(settings, command=(sys.executable, "-c", copy)), stream, SystemClock())
    windower, found = Windower(stream), list[np.ndarray]()
    arrangement = stream.arrangement(source.channels, source.units)
    ended = ""
    try:
        for rows in source.rows():
            found.extend(windower.push(rows.times_s, arrangement.apply(rows.values)).values)
    except DataError as error:
        ended = str(error)
    assert "ended with status 0" in ended
    spool = Spool(
        SensorSettings(tmp_path / "spool", tmp_path / "answers"), None, WindowFormat((16000, 1), TimeAxis.FIRST, stream)
    )
    (tmp_path / "spool" / "test.wav").write_bytes(wav(samples[:, None] / 32768.0, 16, 16000))
    (file,) = spool.claim(1)
    with spool.read(file, (), new_classes=False) as recorded:
        assert_array_equal(recorded.windows(0, 2), np.stack(found))
        assert recorded.ids is not None
        ids = tuple(recorded.ids[:])
    labels = (HOWTO / "microphone.md").read_text().split("id,label\n")[1].split("```")[0]
    assert tuple(line.split(",")[0] for line in labels.split()) == ids
