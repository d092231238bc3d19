"""Whatever arrives at a device is refused, counted and reported as an event, and the device lives and learns on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.maths.head import Head, HeadInput, HeadKind
from headway.ports import Connected, Received
from headway.tensors import encode_tensors
from headway.wire.fleet_prior import FleetPrior
from headway.wire.messages import Ack, Event, Parting, PublishedHead, RunPoint
from headway.wire.topics import ALL, Kind, topic
from tests.device import Device
from tests.edge_agent.variants import CLASSES, SIZE, variant

HEAD = {
    "schema": 1,
    "kind": "head",
    "version": 5,
    "method": "exact",
    "space": variant().space,
    "devices": 2,
    "samples": 9,
    "link": "softmax",
    "classes": list(CLASSES),
}
KERNEL, BIAS = np.ones((SIZE, 3), np.float32), np.zeros(3, np.float32)


def head(tensors: Mapping[str, np.ndarray] | None = None, **changes: object) -> bytes:
    meta = {name: value for name, value in (HEAD | changes).items() if value is not None}
    return encode_tensors({"kernel": KERNEL, "bias": BIAS} if tensors is None else tensors, meta)


def ack(**changes: object) -> bytes:
    genuine = json.loads(Ack(1, 0, 0).encode())
    return json.dumps({n: v for n, v in (genuine | changes).items() if v is not None}).encode()


HEADS: Mapping[str, bytes] = {
    "nothing but noise": b"\x00" * 100,
    "a header of an exabyte": (2**60).to_bytes(8, "little") + b"{}",
    "a header longer than the file": (1 << 15).to_bytes(8, "little") + b"{}",
    "a gigabyte claimed": encode_tensors({"kernel": KERNEL}, HEAD).replace(b"[8,3]", b"[268435456,3]"),
    "200 KB": head({"kernel": np.zeros((SIZE, 6000), np.float32), "bias": BIAS}),
    "a future schema": head(schema=2),
    "another kind": head(kind="update"),
    "no version": head(version=None),
    "version 0": head(version=0),
    "a version beyond 2^53": head(version=2**60),
    "an unknown key": head(colour="red"),
    "an unknown method": head(method="magic"),
    "another link": head(link="sigmoid"),
    "a class twice": head(classes=["idle", "idle", "run"]),
    "a class missing": head({"kernel": KERNEL[:, :2], "bias": BIAS[:2]}, classes=["idle", "walk"]),
    "5,000 classes": head(classes=[f"c{i}" for i in range(5000)]),
    "other features": head({"kernel": np.ones((SIZE + 1, 3), np.float32), "bias": BIAS}),
    "a kernel of float64": head({"kernel": KERNEL.astype(np.float64), "bias": BIAS}),
    "a kernel that is a vector": head({"kernel": KERNEL[:, 0].copy(), "bias": BIAS}),
    "not a number": head({"kernel": np.full((SIZE, 3), np.nan, np.float32), "bias": BIAS}),
    "infinity": head({"kernel": KERNEL, "bias": np.full(3, np.inf, np.float32)}),
    "a tensor too many": head({"kernel": KERNEL, "bias": BIAS, "extra": BIAS}),
    "a tensor too few": head({"kernel": KERNEL}),
    "no metadata": encode_tensors({"kernel": KERNEL, "bias": BIAS}),
}
ACKS: Mapping[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "no UTF-8": b'{"epoch":"\xff"}',
    "a key twice": b'{"schema":1,"schema":1}',
    "a future schema": ack(schema=2),
    "a missing counter": ack(counter=None),
    "an unknown key": ack(colour=1),
    "a counter of text": ack(counter="9"),
    "a negative counter": ack(counter=-1),
    "a counter of a thousand digits": ack().replace(b'"counter": 0', b'"counter": ' + b"9" * 1000),
    "a fraction": ack(sequence=0.5),
    "a pace that is not a number": ack().replace(b'"pace_s": 0.0', b'"pace_s": NaN'),
    "a pace of a year": ack(pace_s=3e7),
    "a negative pace": ack(pace_s=-1.0),
    "a hundred thousand brackets": b"[" * 100_000,
    "200 KB": ack() + b" " * 200_000,
}
CASES = [(Kind.HEAD, name, payload) for name, payload in HEADS.items()]
CASES += [(Kind.ACK, name, payload) for name, payload in ACKS.items()]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """One device that hears it all: it has to live on."""
    subject = Device(tmp_path_factory.mktemp("hostile"))
    subject.drop("before", 9, 0)
    subject.turn()
    subject.loop.handle(Connected(session_present=False))
    return subject


def address(kind: Kind) -> str:
    return topic("test", ALL if kind is Kind.HEAD else "pump", kind)


@pytest.mark.parametrize(("kind", "name", "payload"), CASES, ids=[f"{kind}: {name}" for kind, name, _ in CASES])
def test_malformed_input_is_refused_counted_and_survived(device: Device, kind: Kind, name: str, payload: bytes) -> None:
    before, refused = device.loop.agent.learner.encode(), device.loop.refused
    device.loop.handle(Received(address(kind), payload))
    assert device.loop.refused == refused + 1
    assert device.loop.agent.learner.encode() == before


def test_refusals_are_told_as_events_but_a_flood_makes_no_flood(tmp_path: Path) -> None:
    device = Device(tmp_path)
    for _ in range(1000):
        device.loop.handle(Received(address(Kind.ACK), b"{"))
    events = [Event.decode(payload) for payload in device.wire.of(Kind.EVENT)]
    assert [event.name for event in events] == ["message-refused"] * 10
    assert "refused so far: 512" in str(events[-1].detail["problem"])


def test_old_heads_and_foreign_acks_change_nothing(tmp_path: Path) -> None:
    device = Device(tmp_path)
    link = Head(KERNEL, BIAS, HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)
    for version in (5, 5, 3, 1):
        payload = PublishedHead(version, "exact", variant().space, 1, 1, link).encode()
        device.loop.handle(Received(address(Kind.HEAD), payload))
        assert device.loop.agent.learner.fleet_version == 5
    state = device.loop.agent.sync_state.encode()
    device.loop.handle(Received(address(Kind.ACK), Ack(123, 2**53, 2**53).encode()))
    assert device.loop.agent.sync_state.encode() == state


def test_forged_acks_cannot_use_up_the_epochs(tmp_path: Path) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 9, 0)
    device.turn()
    epochs = set()
    device.loop.handle(Connected(session_present=True))
    for _ in range(50):
        state = device.loop.agent.sync_state
        epochs.add(state.epoch)
        parting = Parting(RunPoint(state.run_id, state.counter), RunPoint(state.run_id, state.counter))
        device.loop.handle(Received(address(Kind.ACK), Ack(state.epoch, 2**53, 0, run_id=77, parting=parting).encode()))
        device.loop.handle(Received(address(Kind.ACK), Ack(state.epoch, 0, 0, removed=True).encode()))
    assert 1 < len(epochs) <= 5
    assert device.tables == total


GENUINE = {
    Kind.ACK: Ack(1, 5, 0, run_id=3).encode(),
    Kind.HEAD: head(version=9),
    Kind.DESIRED: b"{}",
    Kind.FILE: b"{}",
    Kind.PRIOR: FleetPrior(3, variant().training_statistics).encode(),
}


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(sorted(GENUINE)),
    cuts=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 8), st.binary(max_size=8)), max_size=4),
    garbage=st.none() | st.binary(max_size=200),
    name=st.none() | st.text(max_size=60),
)
def test_any_bytes_at_all_are_survived(
    device: Device,
    kind: Kind,
    cuts: list[tuple[int, int, bytes]],
    garbage: bytes | None,
    name: str | None,
) -> None:
    """Genuine messages with pieces cut out and put in, or plain noise, on any topic."""
    payload = GENUINE[kind] if garbage is None else garbage
    for start, length, piece in cuts:
        payload = payload[:start] + piece + payload[start + length :]
    device.loop.handle(Received(address(kind) if name is None else name, payload))


def test_after_all_that_it_still_learns(device: Device) -> None:
    before = device.tables
    new = device.drop("after", 12, 7)
    device.turn()
    assert "after" in device.answers()
    assert device.tables == before + new


def test_a_head_of_another_feature_space_is_not_for_this_device(device: Device) -> None:
    before, refused = device.loop.agent.learner.encode(), device.loop.refused
    device.loop.handle(Received(address(Kind.HEAD), head(space="0" * 64)))
    assert device.loop.refused == refused
    assert device.loop.agent.learner.encode() == before
