"""Rows and windows from a broker: payloads of home automation as they are, messages lost, brokers that go and come."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from paho.mqtt import publish

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.building import open_source
from edge_agent.sources.decoding import MessageDecoder, RowFormat
from edge_agent.sources.mqtt import MESSAGES_MAX, BrokerTopics, _Mailbox
from edge_agent.sources.ports import Rows
from edge_agent.sources.stream_sensor import StreamSensor
from headway.errors import ConfigError, DataError
from headway.ports import Received, SystemClock
from headway.stream import Channel, StreamFormat
from testbed.broker import Broker
from tests.device import ManualClock
from tests.edge_agent.variants import SIZE, variant

STREAM = StreamFormat((Channel("temperature"), Channel("humidity")), rate_hz=10.0, length=2, hop=2, gap_s=60.0)
ZIGBEE = {"battery": 97, "humidity": 40.5, "linkquality": 120, "temperature": 21.5, "update": {"state": "idle"}}


def source(broker: Broker, *topics: str, stream: StreamFormat = STREAM, **changes: object) -> BrokerTopics:
    settings = SourceSettings(kind="mqtt", host=broker.host, port=broker.port, topics=topics, **changes)  # type: ignore[arg-type]
    return BrokerTopics(settings, stream, SystemClock())


def send(broker: Broker, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
    publish.single(topic, payload, 1, retain, broker.host, broker.port)


@contextmanager
def listening(source: BrokerTopics) -> Iterator[Iterator[Rows]]:
    """Its rows, from the moment at which the broker has taken the connection and the subscription."""
    rows = source.rows()
    try:
        assert next(rows).values.shape == (0, 2)
        yield rows
    finally:
        source.close()
        assert list(rows) == []


def first(broker: Broker, rows: Iterator[Rows], topic: str, payload: bytes | str) -> Rows:
    """What comes of a message, which is sent until it does: a subscription takes its time."""
    got = threading.Event()

    def repeat() -> None:
        while not got.wait(0.05):
            send(broker, topic, payload)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        return next(rows)
    finally:
        got.set()
        thread.join()


@pytest.mark.broker
@pytest.mark.parametrize(
    ("changes", "payload", "expected"),
    [
        ({"format": "json"}, json.dumps(ZIGBEE), [[21.5, 40.5]]),
        ({"format": "json", "paths": ("a.0.t", "a.1")}, '{"a": [{"t": "on"}, null]}', [[1.0, np.nan]]),
        ({"format": "json"}, '[{"temperature": 1, "humidity": 2}, {"temperature": 3}]', [[1, 2], [3, np.nan]]),
        ({"format": "csv"}, "20.5;41\n20.6;42\n", [[20.5, 41], [20.6, 42]]),
        ({"format": "float32"}, np.array([[1, 2], [3, 4]], "<f4").tobytes(), [[1, 2], [3, 4]]),
    ],
)
def test_rows_come_as_they_were_published(
    broker: Broker, request: pytest.FixtureRequest, changes: dict[str, object], payload: bytes | str, expected: list
) -> None:
    topic = f"sources/{abs(hash(request.node.name))}"
    with listening(source(broker, topic, **changes)) as rows:
        assert_array_equal(first(broker, rows, topic, payload).values, expected)


@pytest.mark.broker
def test_a_topic_for_each_value_gives_a_row_with_each_message(broker: Broker) -> None:
    """As statestream of Home Assistant, and ESPHome, publish."""
    topics = [f"homeassistant/sensor/kitchen_{name}/state" for name in ("temperature", "humidity")]
    with listening(source(broker, *topics, format="json")) as rows:
        assert_array_equal(first(broker, rows, topics[0], "21.5").values, [[21.5, np.nan]])
        while np.isnan(got := first(broker, rows, topics[1], "40").values).any():
            continue
        assert_array_equal(got, [[21.5, 40.0]])
        while not np.isnan(first(broker, rows, topics[0], "unavailable").values[0, 0]):
            continue


@pytest.mark.broker
def test_a_message_that_the_broker_had_kept_is_not_taken(broker: Broker) -> None:
    send(broker, "sources/kept", json.dumps({"temperature": -1}), retain=True)
    with listening(source(broker, "sources/kept", format="json")) as rows:
        assert first(broker, rows, "sources/kept", json.dumps(ZIGBEE)).values[0, 0] == 21.5


@pytest.mark.broker
def test_a_broker_that_goes_is_said_and_comes_back(fresh_broker: Broker) -> None:
    its = replace(variant(), stream=None)
    settings = SourceSettings(
        kind="mqtt",
        host=fresh_broker.host,
        port=fresh_broker.port,
        topics=("windows",),
        format="float32",
        each="window",
    )
    opened, settings = open_source(settings, its, SystemClock())
    woken = threading.Semaphore(0)
    sensor = StreamSensor(settings, opened, its, SystemClock(), woken.release)
    window = np.arange(SIZE, dtype="<f4")

    def arrive() -> None:
        while not woken.acquire(timeout=0.1):
            send(fresh_broker, "windows", window.tobytes())

    sensor.start()
    arrive()
    fresh_broker.kill()
    while not sensor.problem:
        threading.Event().wait(0.01)
    assert f"{fresh_broker.host}:{fresh_broker.port}" in sensor.problem
    fresh_broker.start()
    arrive()
    assert sensor.problem == ""
    sensor.close()
    names = [name for name, _ in sensor.take_notices()]
    assert names[0] == "source-failed stream"
    assert names[-1] == "source-back stream"
    for file in sensor.claim(1):
        assert_array_equal(sensor.read(file).windows(0, 1), window[None])


@pytest.mark.broker
def test_messages_of_another_kind_are_passed_over_until_there_is_nothing_else(broker: Broker) -> None:
    with listening(source(broker, "bridge/+", format="json")) as rows:
        send(broker, "bridge/state", "online")
        assert first(broker, rows, "bridge/kitchen", json.dumps(ZIGBEE)).values[0, 1] == 40.5
    rows = source(broker, "bridge/+", format="json").rows()
    next(rows)
    said = ""
    while not said:
        try:
            first(broker, rows, "bridge/state", "online")
        except DataError as error:
            said = str(error)
    assert said.startswith("16 messages one after the other: topic bridge/state: b'online' holds no row of 2 numbers")


def test_rows_of_lost_messages_leave_a_gap_and_others_none() -> None:
    clock = ManualClock(wall=1000.0)
    stream = replace(STREAM, gap_s=0.5)
    decoder = MessageDecoder(RowFormat.of(SourceSettings(format="float32"), stream), clock)
    payload = np.zeros((10, 2), "<f4").tobytes()
    times = []
    for late_s in (0.0, 0.2, -0.1, 0.0, 30.0, 0.0):
        clock.wall += 1.0 + late_s
        times.append(decoder.rows_of(payload).times_s)
    steps = np.diff(np.concatenate(times))
    assert_allclose(np.delete(steps, 39), 0.1)
    assert steps[39] > 29


def test_a_reader_that_is_far_behind_says_so() -> None:
    mailbox = _Mailbox()
    for _ in range(MESSAGES_MAX + 1):
        mailbox.put(Received("t", b"1"))
    with pytest.raises(DataError, match=f"more than {MESSAGES_MAX} messages"):
        mailbox.take()
    mailbox.empty()
    mailbox.put(Received("t", b"1"))
    assert mailbox.take() == Received("t", b"1")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"topics": ()}, "source.topics is empty"),
        ({"topics": ("a", "b", "c")}, "names 3 topics for 2 channels"),
        ({"topics": ("a", "a")}, "names 2 topics for 2 channels; name another"),
        ({"topics": ("a/+", "b")}, r"has \+ or # among several"),
        ({"topics": ("a", "b"), "format": "float32"}, "hold a value each"),
        ({"topics": ("a",), "paths": ("x",)}, "source.paths has 1 entries for 2 channels"),
        ({"topics": ("a",), "format": "float32", "time": "temperature"}, "needs lines of single rows"),
        ({"topics": ("a",), "password_file": Path("secret")}, "password_file needs username"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_start(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        BrokerTopics(SourceSettings(kind="mqtt", **changes), STREAM, SystemClock())  # type: ignore[arg-type]


def test_a_shape_that_is_not_the_bundles_is_refused_at_the_start() -> None:
    settings = SourceSettings(kind="mqtt", topics=("a",), each="window", shape=(2, SIZE))
    with pytest.raises(ConfigError, match=rf"source.shape is 2x{SIZE}, and the bundle takes windows of {SIZE}"):
        open_source(settings, variant(), SystemClock())
    with pytest.raises(ConfigError, match="or give whole windows"):
        open_source(replace(settings, each="row"), variant(), SystemClock())
    # a word that is mistaken is told before what would follow from the right one
    with pytest.raises(ConfigError, match="source.kind 'mqqt' is not known; did you mean 'mqtt'"):
        open_source(replace(settings, each="row", kind="mqqt"), variant(), SystemClock())


def test_windows_that_wait_are_bounded_in_bytes() -> None:
    class Full:
        channels: tuple[str, ...] = ()
        units: tuple[str, ...] = ()

        def rows(self) -> Iterator[Rows]:
            yield Rows(np.arange(40.0), np.zeros((40, SIZE)))

        def close(self) -> None:
            pass

    sensor = StreamSensor(SourceSettings(each="window", bytes_max=1024), Full(), variant(), SystemClock())
    sensor.start()
    while sensor.unsettled:
        threading.Event().wait(0.01)
    assert sensor.dropped == 40 - 1024 // (4 * SIZE)
    assert "(source.bytes_max)" in sensor.take_notices()[0][1]
    sensor.close()
