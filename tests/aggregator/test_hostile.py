"""Hostile bytes: each malformed case is refused and counted, and the aggregator lives and goes on."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.effects import Note
from aggregator.store.stored import StoredStatistics
from headway.arrays import AnyArray
from headway.maths import Task
from headway.maths.head import Head
from headway.maths.metrics import ClassificationSums
from headway.maths.statistics import Statistics, pack, to_arrays
from headway.ports import Outgoing, Received
from headway.tensors import encode_tensors
from headway.wire.answers import WindowAnswer
from headway.wire.commands import CommandResult, CommandResults
from headway.wire.configuration import ConfigurationState
from headway.wire.fleet_prior import PriorRequest
from headway.wire.health import Health
from headway.wire.labels_wanted import IMAGE, LabelsWanted, NearestLabel, Sketch, WantedLabel
from headway.wire.messages import Event, Metrics, PublishedHead, Reported, Status
from headway.wire.summary import Summary
from headway.wire.topics import FROM_DEVICES, Kind, topic
from headway.wire.trial import TrialReport
from tests.aggregator.fleets import (
    CLASSES,
    FLEET,
    SIZE,
    SPACE,
    Fleet,
    acks,
    delta,
    statistics_message,
    tables,
    update_message,
)

GOOD = tables(20, 1)
META: Mapping[str, object] = {
    "schema": 1,
    "kind": "statistics",
    "device": "a",
    "epoch": 1,
    "counter": 5,
    "space": SPACE,
    "size": SIZE,
    "classes": list(CLASSES),
}
UPDATE_META: Mapping[str, object] = {
    "schema": 1,
    "kind": "update",
    "device": "a",
    "epoch": 1,
    "sequence": 5,
    "base_version": 0,
    "samples": 5,
    "space": SPACE,
    "classes": list(CLASSES),
}


def statistics_payload(arrays: Mapping[str, AnyArray] | None = None, **meta: object) -> bytes:
    kept = {name: value for name, value in {**META, **meta}.items() if value is not None}
    return encode_tensors(to_arrays(GOOD) if arrays is None else arrays, kept)


def update_payload(tensor: AnyArray, name: str = "delta", **meta: object) -> bytes:
    return encode_tensors({name: tensor}, {**UPDATE_META, **meta})


def altered(row: int, column: int, value: int) -> dict[str, AnyArray]:
    """The good tables with one number of the gram changed."""
    gram = GOOD.gram.copy()
    gram[row, column] = gram[column, row] = value
    return to_arrays(dataclasses.replace(GOOD, gram=gram))


def inflating(length: int) -> dict[str, AnyArray]:
    """A few bytes that inflate to `length` zeros."""
    return {"gram": pack(np.zeros(length, np.int64)), "class_sums": to_arrays(GOOD)["class_sums"]}


LEAST = -(2**63)
overflowing_counts = Statistics(
    GOOD.gram, np.concatenate([GOOD.class_sums[:-1], np.array([[2**62, 2**62, 20 - 2**63]])]), CLASSES, SPACE
)

STATISTICS: Mapping[str, bytes] = {
    "nothing but zeros": bytes(100),
    "one byte": b"\x01",
    "a header of 1 GB": struct.pack("<Q", 1 << 30) + b"{}",
    "a header of 2^63": struct.pack("<Q", 1 << 63) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 4) + b"nope",
    "a tensor far outside the file": struct.pack("<Q", 66)
    + b'{"gram":{"dtype":"U8","shape":[1000000000],"data_offsets":[0,1000000000]}}'[:66],
    "no metadata": encode_tensors(to_arrays(GOOD)),
    "an update's kind": statistics_payload(kind="update"),
    "a future schema": statistics_payload(schema=2),
    "a key too many": statistics_payload(surprise=1),
    "no counter": statistics_payload(counter=None),
    "a negative counter": statistics_payload(counter=-1),
    "a counter beyond 2^53": statistics_payload(counter=2**60),
    "a counter of 400 digits": statistics_payload(counter=10**400),
    "a counter that is true": statistics_payload(counter=True),
    "a counter that is text": statistics_payload(counter="5"),
    "no classes": statistics_payload(classes=[]),
    "a class twice": statistics_payload(classes=["idle", "idle", "run"]),
    "classes that are numbers": statistics_payload(classes=[1, 2, 3]),
    "a class too few": statistics_payload(classes=["idle", "walk"]),
    "five thousand classes": statistics_payload(classes=[f"c{i}" for i in range(5000)]),
    "a size of nothing": statistics_payload(size=0),
    "a size too small": statistics_payload(size=SIZE - 1),
    "a size that would fill the memory": statistics_payload(size=2**40),
    "a size within the protocol, beyond the bundle": statistics_payload(size=16_000),
    "a tensor missing": statistics_payload({"gram": to_arrays(GOOD)["gram"]}),
    "a tensor too many": statistics_payload({**to_arrays(GOOD), "more": np.zeros(1, np.uint8)}),
    "a gram that is not packed": statistics_payload({**to_arrays(GOOD), "gram": GOOD.gram}),
    "an empty gram": statistics_payload({**to_arrays(GOOD), "gram": np.zeros(0, np.uint8)}),
    "a gram of width 3": statistics_payload({**to_arrays(GOOD), "gram": np.array([3, 0, 0], np.uint8)}),
    "a gram that is no zlib": statistics_payload({**to_arrays(GOOD), "gram": np.array([8, 1, 2], np.uint8)}),
    "a zlib bomb": statistics_payload(inflating(20_000_000)),
    "a negative sample count": statistics_payload(altered(SIZE, SIZE, -20)),
    "more samples than counted": statistics_payload(altered(SIZE, SIZE, 21)),
    "2^62 samples": statistics_payload(altered(SIZE, SIZE, 2**62)),
    "a diagonal below zero": statistics_payload(altered(0, 0, -1)),
    "a value no code can reach": statistics_payload(altered(0, 1, 127 * 127 * 20 + 1)),
    "the least int64, which has no absolute value": statistics_payload(altered(0, 1, LEAST)),
    "a gram that is not positive": statistics_payload(altered(0, 1, int(GOOD.gram[0, 0] + GOOD.gram[1, 1]))),
    "counts that overflow to the right total": statistics_payload(to_arrays(overflowing_counts)),
}
NAN = delta(0.1)
NAN[0, 0] = np.nan
INFINITE = delta(0.1)
INFINITE[0, 0] = np.inf
UPDATES: Mapping[str, bytes] = {
    "statistics instead": statistics_payload(),
    "a value that is not a number": update_payload(NAN),
    "an infinite value": update_payload(INFINITE),
    "float64": update_payload(delta(0.1).astype(np.float64)),
    "float16": update_payload(delta(0.1).astype(np.float16)),
    "three axes": update_payload(delta(0.1)[None]),
    "a class too few": update_payload(delta(0.1)[:2]),
    "another tensor": update_payload(delta(0.1), name="weights"),
    "no samples": update_payload(delta(0.1), samples=0),
    "sequence zero": update_payload(delta(0.1), sequence=0),
    "a base of text": update_payload(delta(0.1), base_version="1"),
}
SUMS = ClassificationSums.empty(len(CLASSES)).to_json()
METRICS: Mapping[str, object] = {
    "a list": [],
    "no frozen sums": {"schema": 1, "epoch": 1, "counter": 1, "served": SUMS},
    "another number of classes": {
        "schema": 1,
        "epoch": 1,
        "counter": 1,
        "served": ClassificationSums.empty(2).to_json(),
        "frozen": SUMS,
    },
    "a ragged table": {
        "schema": 1,
        "epoch": 1,
        "counter": 1,
        "served": {**SUMS, "confusion": [[1], [1, 2], [3]]},
        "frozen": SUMS,
    },
    "a table of huge numbers": {
        "schema": 1,
        "epoch": 1,
        "counter": 1,
        "served": {**SUMS, "confusion": [[10**30] * 3] * 3},
        "frozen": SUMS,
    },
    "a sum of a thousand digits": {
        "schema": 1,
        "epoch": 1,
        "counter": 1,
        "served": {**SUMS, "log_loss_sum": 10**1000},
        "frozen": SUMS,
    },
    "a table of text": {
        "schema": 1,
        "epoch": 1,
        "counter": 1,
        "served": {**SUMS, "confusion": "abc"},
        "frozen": SUMS,
    },
}
LISTED: Mapping[str, object] = {"id": "w1", "at_s": 1.5, "served_by": "exact", "probabilities": {"idle": 0.5}}
SKETCH: Mapping[str, object] = {"kind": "series", "low": 0.0, "high": 1.0, "rows": ["AQ=="]}
WISHES: Mapping[str, object] = {
    "a list": [],
    "no windows": {"schema": 1, "classes": []},
    "a window twice": {"schema": 1, "classes": [], "windows": [LISTED, LISTED]},
    "a class twice": {"schema": 1, "classes": ["idle", "idle"], "windows": []},
    "a hundred windows": {"schema": 1, "classes": [], "windows": [{**LISTED, "id": f"w{n}"} for n in range(100)]},
    "more bytes than a list may have": {
        "schema": 1,
        "classes": ["x" * 250 + str(n) for n in range(200)],
        "windows": [],
    },
    "a class that clears the screen": {"schema": 1, "classes": ["\x1b[2J"], "windows": []},
    **{
        f"a window with {name}": {"schema": 1, "classes": ["idle"], "windows": [{**LISTED, **change}]}
        for name, change in {
            "an id that clears the screen": {"id": "\x1b[2J"},
            "no id": {"id": ""},
            "a long id": {"id": "w" * 129},
            "no probabilities": {"probabilities": {}},
            "a probability above one": {"probabilities": {"idle": 1.5}},
            "a probability of text": {"probabilities": {"idle": "0.5"}},
            "a hundred probabilities": {"probabilities": {f"c{n}": 0.01 for n in range(100)}},
            "a class that turns the line around": {"probabilities": {"\u202e": 0.5}},
            "a time before 1970": {"at_s": -1.0},
            "a key too many": {"surprise": 1},
            "a nearest window that is text": {"nearest": "w2"},
            "a nearest window beyond all codes": {"nearest": {"id": "w2", "label": "idle", "distance": 300.0}},
            "a sketch of no kind": {"sketch": {**SKETCH, "kind": "film"}},
            "a sketch without rows": {"sketch": {**SKETCH, "rows": []}},
            "a sketch of ragged rows": {"sketch": {**SKETCH, "rows": ["AQ==", "AQE="]}},
            "a sketch that is no base64": {"sketch": {**SKETCH, "rows": ["<svg>"]}},
            "a sketch of 1,500 bytes": {"sketch": {**SKETCH, "rows": ["AQEB" * 500]}},
            "a sketch upside down": {"sketch": {**SKETCH, "low": 2.0}},
        }.items()
    },
}
TEXTS: Mapping[str, bytes] = {
    "no UTF-8": b'{"schema":1,"name":"\xff","detail":{},"wall_s":0}',
    "half a surrogate pair": b'{"schema":1,"name":"\\ud800","detail":{},"wall_s":0}',
    "a zero byte": b'{"schema":1,"name":"\\u0000","detail":{},"wall_s":0}',
    "a key twice": b'{"schema":1,"schema":1,"name":"x","detail":{},"wall_s":0}',
    "not a number": b'{"schema":1,"name":"x","detail":{},"wall_s":NaN}',
    "infinity by exponent": b'{"schema":1,"name":"x","detail":{},"wall_s":1e999}',
    "a hundred thousand brackets": b"[" * 100_000,
    "200 KB": b'{"schema":1,"name":"x","detail":{"t":"' + b"x" * 200_000 + b'"},"wall_s":0}',
    "a detail that is a list": b'{"schema":1,"name":"x","detail":[],"wall_s":0}',
}

CASES = (
    [(Kind.STATISTICS, name, payload) for name, payload in STATISTICS.items()]
    + [(Kind.UPDATE, name, payload) for name, payload in UPDATES.items()]
    + [(Kind.METRICS, name, json.dumps(value).encode()) for name, value in METRICS.items()]
    + [(Kind.LABELS_WANTED, name, json.dumps(value).encode()) for name, value in WISHES.items()]
    + [(kind, name, payload) for kind in (Kind.EVENT, Kind.STATUS) for name, payload in TEXTS.items()]
)


@pytest.mark.parametrize(("kind", "name", "payload"), CASES, ids=[f"{kind}: {name}" for kind, name, _ in CASES])
def test_malformed_input_is_refused_counted_and_survived(kind: Kind, name: str, payload: bytes) -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, GOOD))
    effects = fleet.send(Received(topic(FLEET, "a", kind), payload))
    assert list(fleet.refusals.values()) == [1], "refused, and counted once"
    assert set(acks(effects)) <= {"a"}
    assert fleet.core.statistics == GOOD
    fleet.send(statistics_message("a", 1, 2, GOOD + GOOD))
    assert fleet.core.statistics == GOOD + GOOD, "the next good message is served"


def test_replayed_messages_of_another_device_and_time_change_nothing() -> None:
    fleet = Fleet()
    old, new = statistics_message("a", 1, 1, GOOD), statistics_message("a", 1, 2, GOOD + GOOD)
    fleet.send(old, new)
    fleet.send(*[old, new] * 10)
    fleet.send(Received(topic(FLEET, "b", Kind.STATISTICS), new.payload))
    assert fleet.core.statistics == GOOD + GOOD


GENUINE = {
    Kind.STATISTICS: statistics_payload(),
    Kind.UPDATE: update_message("a", 1, delta(0.1)).payload,
    Kind.STATUS: Status(True, 1).encode(),
    Kind.REPORTED: Reported("b", "1", SPACE, "exact", "litert", "0", "x", 1, "lda").encode(),
    Kind.METRICS: Metrics(1, 1, *[ClassificationSums.empty(len(CLASSES))] * 2).encode(),
    Kind.EVENT: Event("drift", {"x": 1}).encode(),
    Kind.TRIAL: TrialReport("", 0, "none").encode(),
    Kind.HEAD_TRIAL: TrialReport("5" * 64, 2, "running").encode(),
    Kind.COMMAND_RESULTS: CommandResults(("label",), (CommandResult("0" * 16, "done", {"counter": 3}, 1.5),)).encode(),
    Kind.LABELS_WANTED: LabelsWanted(
        CLASSES,
        (
            WantedLabel(
                "w1", 1.5, "exact", {"idle": 0.5}, NearestLabel("w2", "walk", 1.5), Sketch(IMAGE, 0.0, 1.0, (b"\x01",))
            ),
        ),
    ).encode(),
    Kind.CONFIGURATION_STATE: ConfigurationState(1, "trial", {"sync.interval_s": 5.5}, ("sync.interval_s",)).encode(),
    Kind.ANSWERS: WindowAnswer(
        "w1", "a.npz", 3, 0, 1.5, Task.CLASSIFICATION, "idle", (), {"idle": 0.9}, "frozen", 1, "b", "1", 1
    ).encode(),
    Kind.SUMMARY: Summary("idle", 0.9, (), 0.8, 3, "frozen", False, None, "").encode(),
    Kind.HEALTH: Health("on", 10, 10, 40.5, {"site": "north"}).encode(),
    Kind.REQUEST: b"{}",
    Kind.PRIOR_REQUEST: PriorRequest(SPACE, 0).encode(),
}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(FROM_DEVICES),
    cuts=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 8), st.binary(max_size=8)), max_size=4),
    garbage=st.none() | st.binary(max_size=200),
)
def test_any_bytes_at_all_are_survived(kind: Kind, cuts: list[tuple[int, int, bytes]], garbage: bytes | None) -> None:
    """Genuine messages with pieces cut out and put in, or plain noise."""
    payload = GENUINE[kind] if garbage is None else garbage
    for start, length, piece in cuts:
        payload = payload[:start] + piece + payload[start + length :]
    fleet = Fleet()
    fleet.send(Received(topic(FLEET, "a", kind), payload))
    fleet.pass_time(1000.0)
    assert fleet.core.statistics.inconsistency() is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_topic_is_survived(text: str) -> None:
    Fleet().send(Received(text, Status(True, 1).encode()))


def negative_scatter(count: int = 80) -> Statistics:
    """Class sums of real samples beside a gram that is less than the squares of their means: no samples have both."""
    honest = tables(count, 4)
    sums, gram = honest.class_sums[:-1], honest.gram.copy()
    gram[:-1, :-1] = np.rint((sums / honest.counts) @ sums.T)
    gram[0, 0] -= gram[0, 0] // 4
    return Statistics(gram, honest.class_sums, CLASSES, SPACE)


def test_tables_with_a_scatter_that_no_samples_have_are_refused() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("honest", 1, 1, tables(50, 3)))
    fleet.send(statistics_message("liar", 1, 1, negative_scatter()))
    assert fleet.core.statistics.samples == 50
    assert fleet.refusals == {("", "malformed"): 1}  # senders that never said anything usable share one name


def test_a_store_that_took_such_tables_once_opens_and_counts_everybody_else() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("honest", 1, 1, tables(50, 3)), statistics_message("liar", 1, 1, tables(80, 4)))
    poison = statistics_message("liar", 1, 2, negative_scatter()).payload
    with fleet.store.transaction():
        fleet.store.put_statistics(StoredStatistics("liar", 1, 2, SPACE, poison))
    fleet.restart()
    assert fleet.core.statistics == tables(50, 3)
    notes = [effect.text for effect in fleet.pass_time(10.0) if isinstance(effect, Note)]
    assert any("liar, epoch 1" in text and "not counted" in text for text in notes)
    fleet.send(statistics_message("liar", 1, 3, tables(81, 4)))
    assert acks(fleet.effects)["liar"][-1].counter == 3
    assert fleet.core.statistics == tables(50, 3) + tables(81, 4)


def test_a_fleet_that_cannot_be_solved_keeps_its_last_head(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, tables(50, 3)))
    fleet.pass_time(10.0)
    version = published(fleet)

    def fails(*_: object) -> Head:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr("aggregator.heads.fleet_model.fleet_head", fails)
    fleet.send(statistics_message("a", 1, 2, tables(51, 3)))
    (note,) = [effect for effect in fleet.pass_time(10.0) if isinstance(effect, Note)]
    assert note.warning
    assert "cannot be solved (Singular matrix)" in note.text
    assert published(fleet) == version
    monkeypatch.undo()
    fleet.send(statistics_message("a", 1, 3, tables(52, 3)))
    fleet.pass_time(10.0)
    assert published(fleet) == version + 1


def published(fleet: Fleet) -> int:
    """Version of the newest head that went out."""
    heads = [e for e in fleet.effects if isinstance(e, Outgoing) and e.topic.endswith("/_all/head")]
    return PublishedHead.decode(heads[-1].payload).version
