"""Frames of a camera through a command: raw or as pictures that say how large they are."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.building import open_source
from edge_agent.sources.stream_sensor import StreamSensor
from headway.arrays import Float32
from headway.bundle import Variant
from headway.errors import ConfigError, DataError
from headway.maths.preprocessing import Preprocessing
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat
from tests.edge_agent.variants import variant

SHAPE = (12, 16, 3)
STREAM = StreamFormat(tuple(Channel(f"c{at}") for at in range(48)), rate_hz=1.0, length=12, hop=1)
FRAMES = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
# a camera's program: frames in pieces that do not end where a frame does
PROGRAM = """
import sys, numpy, time
frames = numpy.random.default_rng(0).integers(0, 256, (5, 12, 16, 3), dtype=numpy.uint8)
head = b"P6\\n16 12\\n255\\n" if sys.argv[1] == "ppm" else b""
whole = b"".join(head + frame.tobytes() for frame in frames)
for at in range(0, len(whole), 1000):
    sys.stdout.buffer.write(whole[at : at + 1000])
    sys.stdout.flush()
time.sleep(60)
"""


def camera() -> Variant:
    its = variant()
    return replace(its, preprocessing=Preprocessing(SHAPE, np.zeros(3, np.float32)))


def windows_of(settings: SourceSettings, count: int) -> tuple[Float32, StreamSensor]:
    """The first windows that come, and the sensor, closed."""
    opened, settings = open_source(settings, camera(), SystemClock())
    woken = threading.Semaphore(0)
    sensor = StreamSensor(settings, opened, camera(), SystemClock(), woken.release)
    sensor.start()
    for _ in range(count):
        assert woken.acquire(timeout=20)
    sensor.close()
    return np.concatenate([sensor.read(file).windows(0, 64) for file in sensor.claim(1)]), sensor


@pytest.mark.parametrize("format", ["uint8", "ppm"])
def test_each_frame_is_a_window(format: str) -> None:
    command = (sys.executable, "-c", PROGRAM, format)
    settings = SourceSettings(command=command, format=format, each="window", shape=SHAPE)
    got, _ = windows_of(settings, 5)
    assert_array_equal(got, FRAMES)


def test_the_newest_frame_alone_waits_where_that_is_wanted() -> None:
    command = (sys.executable, "-c", PROGRAM, "raw")
    settings = SourceSettings(command=command, format="uint8", each="window", windows_max=1)
    got, sensor = windows_of(settings, 5)
    assert_array_equal(got, FRAMES[-1:])
    assert sensor.dropped == 4


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"P6\n12 16\n255\n", "a picture is 16x12x3 with values up to 255; the bundle takes 12x16x3"),
        (b"P5 16 12 255\n", "a picture is 12x16x1"),
        (b"P6\n# by a camera\n16 12\n65535\n", "with values up to 65535"),
        (b"\xff\xd8\xff" + bytes(400), "no picture in PGM or PPM begins with"),
    ],
    ids=["turned", "grey", "deep", "jpeg"],
)
def test_pictures_of_another_size_are_refused_with_what_they_are(payload: bytes, problem: str) -> None:
    settings = SourceSettings(command=("true",), format="ppm", each="window")
    program = f"import sys; sys.stdout.buffer.write({payload!r})"
    command = replace(settings, command=(sys.executable, "-c", program))
    opened, _ = open_source(command, camera(), SystemClock())
    with pytest.raises(DataError, match=problem):
        list(opened.rows())


def test_a_shape_that_is_not_the_bundles_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="source.shape is 24x32x3, and the bundle takes windows of 12x16x3"):
        open_source(SourceSettings(command=("x",), each="window", shape=(24, 32, 3)), camera(), SystemClock())
    with pytest.raises(ConfigError, match="holds pictures; add each"):
        open_source(SourceSettings(command=("x",), format="ppm"), replace(camera(), stream=STREAM), SystemClock())
