"""What the server sends makes a device act: both with keys, one of them, neither; and a server of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.core import Aggregator
from aggregator.remote_commands import ask
from headway.ports import Outgoing, Received
from headway.wire import Command, CommandResults, Commands, Kind, parse_topic, topic
from tests.aggregator.fleets import FLEET, Fleet, model
from tests.aggregator.test_sealing import SealingFleet
from tests.edge_agent.test_sealed_heads import Wrist


def commands_told(fleet: Fleet) -> list[Received]:
    """What the server sends to the device that is asked for something."""
    told = topic(FLEET, "wrist-1", Kind.COMMAND_RESULTS)
    fleet.send(Received(told, CommandResults(("sync-now",)).encode()))
    with fleet.store.transaction():
        ask(fleet.store, "wrist-1", "sync-now", {}, "operator", fleet.instant.wall_s, 3600.0)
    made = [effect for effect in fleet.pass_time(20.0) if isinstance(effect, Outgoing)]
    return [Received(one.topic, one.payload, True) for one in made if parse_topic(one.topic).kind is Kind.COMMANDS]


def results(wrist: Wrist) -> int:
    """How many commands the device says that it has done."""
    wrist.loop.turn()
    told = wrist.transport.of(Kind.COMMAND_RESULTS)
    return len(CommandResults.decode(told[-1]).results) if told else 0


@pytest.mark.parametrize(
    ("server_key", "device_keys", "done"), [(True, True, 1), (True, False, 1), (False, False, 1), (False, True, 0)]
)
def test_a_device_acts_on_what_its_server_sends_unless_it_has_keys_and_the_server_none(
    server_key: bool, device_keys: bool, done: int, tmp_path: Path
) -> None:
    fleet = SealingFleet(tmp_path)
    if not server_key:
        with fleet.store.transaction():
            fleet.core = Aggregator(FLEET, model(), fleet.policy, fleet.store)
    wrist = Wrist(tmp_path, tmp_path / "heads.pem.pub" if device_keys else None)
    said = wrist.hear(*commands_told(fleet))
    assert results(wrist) == done
    assert ("update a server that seals heads alone" in said) == (not done)


def test_a_device_that_waited_for_a_server_of_before_acts_when_that_has_been_updated(tmp_path: Path) -> None:
    """Before 4.32 servers with a key sealed heads and priors alone."""
    fleet, wrist = SealingFleet(tmp_path), Wrist(tmp_path, tmp_path / "heads.pem.pub")
    before = Commands((Command("1" * 16, "sync-now", {}, 4e9),)).encode()
    wrist.hear(Received(topic(FLEET, "wrist-1", Kind.COMMANDS), before, True))
    assert results(wrist) == 0
    wrist.hear(*commands_told(fleet))
    assert results(wrist) == 1
