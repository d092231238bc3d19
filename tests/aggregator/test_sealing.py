"""Heads and priors leave the server with its seal, and it goes on only from heads that carry it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.bundle_sender import BundleSender, order
from aggregator.commands.signing import signer_of
from aggregator.config import read_settings
from aggregator.core import Aggregator
from aggregator.operations.deliveries import NO_BUNDLE
from aggregator.policy import Policy
from aggregator.remote_commands import ask
from aggregator.sealing import PAST, SERIES
from aggregator.store import DeliveryRow
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import DEVICE
from aggregator.twins import change_settings
from headway.bundle import read_public_keys, signed_by
from headway.errors import ConfigError, StoreError
from headway.ports import Outgoing, Received
from headway.private_keys import Signer, generate_key, read_signer
from headway.wire import (
    ALL,
    CommandResults,
    Commands,
    ConfigurationState,
    Desired,
    FleetPrior,
    Kind,
    PriorRequest,
    PublishedHead,
    Seal,
    parse_topic,
    read_desired,
    sealed_text,
    topic,
    without_order_seal,
    without_seal,
)
from tests.aggregator.fleets import FLEET, SPACE, Fleet, model, statistics_message, tables, warnings
from tests.aggregator.test_head_versions import forged

HEAD_TOPIC = topic(FLEET, ALL, Kind.HEAD)


class SealingFleet(Fleet):
    """A fleet whose server has a key."""

    signer: Signer

    def __init__(self, folder: Path, store: MemoryStore | None = None, wall_s: float = 1.8e9) -> None:
        file = folder / "heads.pem"
        if not file.exists():
            generate_key(file)
        self.signer = read_signer(file, "keygen")
        super().__init__(Policy(publish_interval_s=0.0), store or MemoryStore(), wall_ahead_s=wall_s)

    def restart(self) -> None:
        with self.store.transaction():
            self.core = Aggregator(FLEET, model(), self.policy, self.store, signer=self.signer)

    def head_of(self, device: str, counter: int, count: int = 20) -> Outgoing:
        """What is published after a report."""
        self.send(statistics_message(device, 1, counter, tables(count + counter, 1)))
        return published(self.pass_time(1.0))

    def met(self, *retained: bytes) -> list[str]:
        """A connection on which the broker gives what it retains; warnings that come of it."""
        with self.store.transaction():
            self.core.await_retained_head()
            self.core.connected(self.instant)
        return warnings(self.send(*(Received(HEAD_TOPIC, payload, retain=True) for payload in retained)))


def orders(effects: list[object], kind: Kind) -> list[Outgoing]:
    every = [effect for effect in effects if isinstance(effect, Outgoing)]
    return [effect for effect in every if parse_topic(effect.topic).kind is kind]


def checked_order(message: Outgoing, signer: Signer) -> tuple[bytes, Seal]:
    bare, seal = without_order_seal(message.payload)
    assert seal is not None
    text = sealed_text(message.topic, bare, seal.series, seal.version)
    assert signed_by(signer.public_key, text, seal.signature)
    return bare, seal


def published(effects: list[object]) -> Outgoing:
    (found,) = [effect for effect in effects if isinstance(effect, Outgoing) and effect.topic == HEAD_TOPIC]
    return found


def checked(message: Outgoing, signer: Signer) -> tuple[bytes, Seal]:
    bare, seal = without_seal(message.payload)
    assert seal is not None
    text = sealed_text(message.topic, bare, seal.series, seal.version)
    assert signed_by(signer.public_key, text, seal.signature)
    return bare, seal


def test_a_head_is_sealed_for_its_topic_and_number(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    message = fleet.head_of("a", 1)
    bare, seal = checked(message, fleet.signer)
    assert seal.order == (int(fleet.instant.wall_s), 1)
    assert bare == PublishedHead.decode(bare).encode(), "without the seal it is the message of before, to the bit"
    elsewhere = sealed_text(topic("other", ALL, Kind.HEAD), bare, seal.series, seal.version)
    assert not signed_by(fleet.signer.public_key, elsewhere, seal.signature)


def test_who_has_no_key_reads_a_sealed_head_as_it_reads_others(tmp_path: Path) -> None:
    message = SealingFleet(tmp_path).head_of("a", 1)
    assert PublishedHead.decode(message.payload).version == 1
    assert len(message.payload) == len(without_seal(message.payload)[0]) + 192


def test_a_prior_is_sealed_for_the_device_that_asked(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    for device in "abcd":
        fleet.head_of(device, 1, 40)
    request = PriorRequest(SPACE, 0).encode()
    effects = fleet.send(Received(topic(FLEET, "new", Kind.PRIOR_REQUEST), request))
    (message,) = [effect for effect in effects if isinstance(effect, Outgoing)]
    bare, seal = checked(message, fleet.signer)
    assert FleetPrior.decode(bare).devices == 4
    assert seal.version == 4, "as old as the newest head"


def test_what_is_stored_has_no_seal_so_that_another_key_needs_but_another_start(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    first = fleet.head_of("a", 1)
    (tmp_path / "next").mkdir()
    rotated = SealingFleet(tmp_path / "next", fleet.store)  # type: ignore[arg-type]
    assert rotated.met(first.payload) == [], "its own head with the seal of the key before is no stranger"
    with rotated.store.transaction():
        again = published(rotated.core.connected(rotated.instant))  # type: ignore[arg-type]
    assert checked(again, rotated.signer)[0] == without_seal(first.payload)[0]


def test_a_server_with_a_key_does_not_go_on_from_a_head_without_its_seal(tmp_path: Path) -> None:
    """Without a key it does: case c08, a poisoned retained head."""
    fleet = SealingFleet(tmp_path)
    said = fleet.met(forged(1000).encode())
    assert any("has no seal of this server's key" in line for line in said)
    assert checked(fleet.head_of("a", 1), fleet.signer)[1].version == 1


@pytest.mark.parametrize("spoiled", ["signature", "topic", "key"])
def test_a_seal_that_is_not_its_own_is_none(spoiled: str, tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    payload = fleet.head_of("a", 1).payload
    if spoiled == "signature":
        payload = payload[:200] + (b"0" if payload[200:201] != b"0" else b"1") + payload[201:]
    fresh = SealingFleet(tmp_path / "other" if spoiled == "key" and not (tmp_path / "other").mkdir() else tmp_path)
    if spoiled == "topic":
        bare, seal = without_seal(payload)
        assert seal is not None
        moved = sealed_text(topic("other", ALL, Kind.HEAD), bare, seal.series, seal.version)
        old = seal.signature.hex().encode()
        payload = payload.replace(old, fresh.signer.sign(moved).hex().encode())
    assert any("no seal of this server's key" in line for line in fresh.met(payload))
    assert fresh.store.number(SERIES) == 0


def test_a_server_that_lost_its_store_goes_on_from_the_retained_head_in_the_series_after_its(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    fleet.head_of("a", 1)
    newest = fleet.head_of("a", 2)
    lost = SealingFleet(tmp_path, wall_s=1.7e9)
    lost.met(newest.payload)
    _, before = checked(newest, fleet.signer)
    _, after = checked(lost.head_of("a", 3), lost.signer)
    assert after.order == (before.series + 1, 3), "whatever its clock says"


def test_a_server_that_lost_store_and_retained_head_begins_a_series_after_all_before(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    fleet.head_of("a", 1)
    _, before = checked(fleet.head_of("a", 2), fleet.signer)
    lost = SealingFleet(tmp_path, wall_s=1.9e9)
    lost.met()
    with lost.store.transaction():
        lost.core._heads.answered()
    _, after = checked(lost.head_of("a", 3), lost.signer)
    assert after.version == 1
    assert after.order > before.order


def test_a_restored_store_begins_a_new_series_though_the_broker_retains_a_head_of_the_one_before(
    tmp_path: Path,
) -> None:
    fleet = SealingFleet(tmp_path)
    newest = fleet.head_of("a", 1)
    before = _commanded(fleet)
    restored = SealingFleet(tmp_path, wall_s=1.7e9)
    with restored.store.transaction():
        restored.store.put_number(PAST, before.series)
    restored.met(newest.payload)
    assert _commanded(restored).order > before.order, "whatever its clock says"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    generate_key(tmp_path / "heads.pem")
    (tmp_path / "server.toml").write_text(
        '[fleet]\nname = "plant"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "state"\n'
        '[publish]\nsigning_key = "heads.pem"\n'
    )
    settings = read_settings(tmp_path / "server.toml")
    signer = signer_of(settings)
    assert signer is not None
    assert read_public_keys(tmp_path / "heads.pem.pub") == (signer.public_key,)
    (tmp_path / "heads.pem").chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640, and others can read the key: chmod 600"):
        signer_of(settings)


def test_a_fleet_without_a_key_seals_nothing() -> None:
    fleet = Fleet()
    fleet.send(statistics_message("a", 1, 1, tables(20, 1)))
    message = published(fleet.pass_time(1.0))  # type: ignore[arg-type]
    assert without_seal(message.payload) == (message.payload, None)


KNOWS_COMMANDS = Received(topic(FLEET, "a", Kind.COMMAND_RESULTS), CommandResults(("sync-now",)).encode())


def test_settings_and_commands_are_sealed_for_their_device_under_numbers_that_only_grow(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    told = ConfigurationState(0, "applied", {"sync.interval_s": 5.0})
    fleet.send(KNOWS_COMMANDS, Received(topic(FLEET, "a", Kind.CONFIGURATION_STATE), told.encode()))
    with fleet.store.transaction():
        change_settings(fleet.store, DEVICE, "a", {"sync.interval_s": 20.0}, (), fleet.instant.wall_s)
        ask(fleet.store, "a", "sync-now", {}, "operator", fleet.instant.wall_s, 3600.0)
    made = fleet.pass_time(20.0)
    (settings,), (commands,) = orders(made, Kind.CONFIGURATION), orders(made, Kind.COMMANDS)
    assert b"sync.interval_s" in checked_order(settings, fleet.signer)[0]
    bare, first = checked_order(commands, fleet.signer)
    assert [one.name for one in Commands.decode(bare).commands] == ["sync-now"]
    assert commands.topic == topic(FLEET, "a", Kind.COMMANDS)
    fleet.set_clock_back(1e6)
    with fleet.store.transaction():
        fleet.core.connected(fleet.instant)
    (again,) = orders(fleet.pass_time(20.0), Kind.COMMANDS)
    assert checked_order(again, fleet.signer)[1].order > first.order


@pytest.mark.parametrize("clock_s", [60.0, -1e6])
def test_orders_of_a_server_that_lost_its_store_come_after_all_before(tmp_path: Path, clock_s: float) -> None:
    fleet = SealingFleet(tmp_path)
    head, before = fleet.head_of("a", 1), _commanded(fleet)
    later = SealingFleet(tmp_path, wall_s=1.8e9 + clock_s)
    later.met(head.payload)
    after = _commanded(later)
    assert after.order > before.order
    later.met(head.payload)
    assert _commanded(later).series == after.series, "the head of the series before is still retained"


def _commanded(fleet: SealingFleet) -> Seal:
    fleet.send(KNOWS_COMMANDS)
    with fleet.store.transaction():
        ask(fleet.store, "a", "sync-now", {}, "operator", fleet.instant.wall_s, 3600.0)
    (message,) = orders(fleet.pass_time(20.0), Kind.COMMANDS)
    return checked_order(message, fleet.signer)[1]


def test_release_0_2_is_ordered_bundles_as_it_reads_them_and_a_later_one_again_once_it_is_known(tmp_path: Path) -> None:
    fleet = SealingFleet(tmp_path)
    order_bundle(fleet, fleet.signer)
    (plain,) = orders(fleet.pass_time(20.0), Kind.DESIRED)
    assert plain.payload == Desired.decode(plain.payload).encode()
    fleet.send(KNOWS_COMMANDS)
    (sealed,) = orders(fleet.pass_time(20.0), Kind.DESIRED)
    assert checked_order(sealed, fleet.signer)[0] == plain.payload
    fleet.send(KNOWS_COMMANDS)
    assert orders(fleet.pass_time(20.0), Kind.DESIRED) == []


def order_bundle(fleet: Fleet, signer: Signer | None) -> None:
    """For the device a."""
    row = DeliveryRow("", "a" * 64, 10, "watch", "1.0.0", 3, SPACE, 0.0)
    with fleet.store.transaction():
        order(fleet.store, row, ["a"], everybody=False, known=list)
        deliveries = BundleSender(FLEET, fleet.store, NoShelf(), fleet.policy.delivery)
        fleet.core = Aggregator(FLEET, model(), fleet.policy, fleet.store, deliveries, signer=signer)


def test_an_order_that_is_withdrawn_is_cleared_and_said_with_a_seal_so_that_it_cannot_be_brought_back(
    tmp_path: Path,
) -> None:
    fleet = SealingFleet(tmp_path)
    fleet.send(KNOWS_COMMANDS)
    order_bundle(fleet, fleet.signer)
    (ordered,) = orders(fleet.pass_time(20.0), Kind.DESIRED)
    withdraw_bundle(fleet)
    cleared, withdrawn = orders(fleet.pass_time(20.0), Kind.DESIRED)
    assert (cleared.payload, cleared.retain, withdrawn.retain) == (b"", True, True)
    bare, seal = checked_order(withdrawn, fleet.signer)
    assert read_desired(bare) is None
    assert seal.order > checked_order(ordered, fleet.signer)[1].order


def withdraw_bundle(fleet: Fleet) -> None:
    with fleet.store.transaction():
        order(fleet.store, NO_BUNDLE, ["a"], everybody=False, known=list)


class NoShelf:
    """Has no bytes of any bundle."""

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        raise StoreError(f"no bundle {sha256}")


def test_without_a_key_orders_are_as_they_were() -> None:
    fleet = Fleet(Policy(publish_interval_s=0.0))
    order_bundle(fleet, None)
    assert len(orders(fleet.pass_time(20.0), Kind.DESIRED)) == 1
    fleet.send(KNOWS_COMMANDS)
    assert orders(fleet.pass_time(20.0), Kind.DESIRED) == [], "there is no seal to say it again with"
    withdraw_bundle(fleet)
    assert [one.payload for one in orders(fleet.pass_time(20.0), Kind.DESIRED)] == [b""]
    with fleet.store.transaction():
        ask(fleet.store, "a", "sync-now", {}, "operator", fleet.instant.wall_s, 3600.0)
    (message,) = orders(fleet.pass_time(20.0), Kind.COMMANDS)
    assert message.payload == Commands.decode(message.payload).encode()
