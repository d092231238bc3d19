"""Wall time may jump by years, on a device without a clock of its own: only labels for people may show it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aggregator.effects import Effect, Instant
from aggregator.heads.fleet_model import FleetModel
from headway.ports import Connected, Outgoing, Received
from headway.wire.messages import Event
from headway.wire.topics import Kind
from tests.aggregator.fleets import Fleet
from tests.device import Device
from tests.edge_agent.variants import variant
from tests.nightly import nightly

YEAR_S = 365 * 86_400.0
FARTHEST = "thirty years ahead and back at each step"
WALLS: dict[str, Callable[[int], float]] = {
    FARTHEST: lambda step: 1.8e9 + (30 * YEAR_S if step % 2 else 0.0),
    "back by a year at each step": lambda step: 1.8e9 - step * YEAR_S,
    "ahead by ten years at each step": lambda step: 1.8e9 + 10 * step * YEAR_S,
    "at the very beginning": lambda step: 0.0,
}


class Server(Fleet):
    """The aggregator's core with a wall clock that can be set."""

    wall = 1.8e9

    @property
    def instant(self) -> Instant:
        return Instant(self.now_s, self.wall)


def status_detail(folder: Path, wall: Callable[[int], float], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Labels, syncs, a lost ack, a restart and heads; everything that was said and saved, but for wall times."""
    numbers = itertools.count(1)
    monkeypatch.setattr("secrets.randbits", lambda bits: next(numbers))
    monkeypatch.setattr(
        "edge_agent.startup.restored_agent.open_agent.__defaults__", (lambda bits: next(numbers), (0, 0))
    )
    server = Server(build_model=lambda: FleetModel.of(variant()))
    device, said = Device(folder), []
    device.loop.handle(Connected(session_present=False))
    for step in range(24):
        server.wall = device.clock.wall = wall(step)
        device.drop(f"f{step:02d}", 6, step)
        if step == 12:
            device.loop.stop()
            device.loop.store.current.close()  # type: ignore[attr-defined]
            device.boot()
            device.loop.handle(Connected(session_present=True))
        sent = len(device.wire.sent)
        device.turn(10.0)
        server.now_s += 10.0
        for message in device.wire.sent[sent:]:
            said.append(without_wall_time(message))
            effects: list[Effect] = server.send(Received(message.topic.replace("/test/", "/plant/"), message.payload))
            for effect in effects + server.pass_time():
                if isinstance(effect, Outgoing):
                    said.append(effect.topic.encode() + effect.payload)
                    if step % 5:
                        device.loop.handle(Received(effect.topic.replace("/plant/", "/test/"), effect.payload))
    said.append(device.loop.agent.learner.encode())
    said.append(device.loop.agent.sync_state.encode())
    assert server.refusals == {}
    return said


def without_wall_time(message: Outgoing) -> bytes:
    if message.topic.endswith(f"/{Kind.EVENT}"):
        event = Event.decode(message.payload)
        return Event(event.name, event.detail).encode()
    return message.topic.encode() + re.sub(rb'"wall_s":[0-9.e+-]+', b"", message.payload)


@pytest.mark.parametrize("name", [FARTHEST, *map(nightly, sorted(WALLS.keys() - {FARTHEST}))])
def test_the_wall_clock_changes_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = status_detail(tmp_path / "steady", lambda step: 1.8e9, monkeypatch)
    jumping = status_detail(tmp_path / "jumping", WALLS[name], monkeypatch)
    assert len(steady) == len(jumping)
    assert steady == jumping
