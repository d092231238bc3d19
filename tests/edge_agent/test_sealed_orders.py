"""A device with keys of its server acts on no order without its seal for this device, and on none that is older."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.seal_checks import words
from edge_agent.store import MemoryStore
from headway.bundle import checks_are_quick
from headway.errors import RemoteError
from headway.ports import Connected, Received
from headway.private_keys import Signer
from headway.wire import (
    KEY_ID_BYTES,
    WITHDRAWN,
    Command,
    CommandResults,
    Commands,
    Configuration,
    Desired,
    Kind,
    Seal,
    sealed_text,
    topic,
    with_order_seal,
)
from tests.edge_agent.test_sealed_heads import Wrist, head, head_topic, made_key, sealed

ORDERS = {
    Kind.DESIRED: Desired("a" * 64, 10, "watch", "1.0.0", 3).encode(),
    Kind.CONFIGURATION: Configuration(3, {"sync.interval_s": 20.0}).encode(),
    Kind.COMMANDS: Commands((Command("1" * 16, "sync-now", {}, 4e9),)).encode(),
}


def order(signer: Signer, kind: Kind, number: int, payload: bytes = b"", device: str = "wrist-1") -> Received:
    name, payload = topic("plant", device, kind), payload or ORDERS[kind]
    text = sealed_text(name, payload, 7, number)
    seal = Seal(7, number, signer.public_key[:KEY_ID_BYTES], signer.sign(text))
    return Received(name, with_order_seal(payload, seal), retain=True)


def command(digit: str) -> bytes:
    return Commands((Command(digit * 16, "sync-now", {}, 4e9),)).encode()


def forged(signer: Signer, liar: Signer, number: int) -> Received:
    """A list of commands that names the server's key, and has the signature of another; higher than any honest one."""
    message = order(liar, Kind.COMMANDS, 10**6 + number, command("f"))
    digits = liar.public_key[:KEY_ID_BYTES].hex(), signer.public_key[:KEY_ID_BYTES].hex()
    return Received(OWN, message.payload.replace(*(each.encode() for each in digits)), True)


def done(wrist: Wrist) -> list[str]:
    """Ids of commands whose results the device tells."""
    wrist.loop.turn()
    told = wrist.transport.of(Kind.COMMAND_RESULTS)
    return [result.id[0] for result in CommandResults.decode(told[-1]).results] if told else []


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return made_key(tmp_path)


@pytest.fixture
def wrist(tmp_path: Path, signer: Signer) -> Wrist:
    return Wrist(tmp_path, tmp_path / "heads.pem.pub")


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_with_the_seal_is_believed_and_one_without_is_refused_in_one_line(
    kind: Kind, wrist: Wrist, signer: Signer
) -> None:
    said = wrist.hear(Received(topic("plant", "wrist-1", kind), ORDERS[kind], True))
    assert f"the {words(kind)} has no seal, and [sync] head_keys demands one: set publish.signing_key" in said
    assert wrist.hear(order(signer, kind, 1)) == ""
    assert wrist.loop.refused == 1


def test_a_command_is_done_with_the_seal_alone(wrist: Wrist, signer: Signer) -> None:
    wrist.hear(Received(topic("plant", "wrist-1", Kind.COMMANDS), command("1"), True))
    assert done(wrist) == []
    wrist.hear(order(signer, Kind.COMMANDS, 1, command("1")))
    assert done(wrist) == ["1"]


@pytest.mark.parametrize("keys", [False, True])
def test_a_device_without_keys_acts_on_both(tmp_path: Path, signer: Signer, keys: bool) -> None:
    plain = Wrist(tmp_path, None)
    message = order(signer, Kind.COMMANDS, 1, command("1"))
    plain.hear(message if keys else Received(message.topic, command("1"), True))
    assert (done(plain), plain.loop.refused) == (["1"], 0)


def _moved(message: Received, name: str) -> Received:
    return Received(name, message.payload, True)


OWN = topic("plant", "wrist-1", Kind.COMMANDS)
FORGERIES: dict[str, tuple[Callable[[Signer, Signer], Received], str]] = {
    "another key": (lambda own, other: order(other, Kind.COMMANDS, 9), "not in [sync] head_keys"),
    "another device": (lambda own, other: order(own, Kind.COMMANDS, 9, device="wrist-2"), "not for wrist-1 of plant"),
    "moved from another device": (
        lambda own, other: _moved(order(own, Kind.COMMANDS, 9, device="wrist-2"), OWN), "forged, or damaged",
    ),
    "moved from another fleet": (
        lambda own, other: _moved(order(own, Kind.COMMANDS, 9), topic("works", "wrist-1", Kind.COMMANDS)),
        "not for wrist-1 of plant",
    ),
    "the words of another kind": (
        lambda own, other: _moved(order(own, Kind.CONFIGURATION, 9), OWN), "forged, or damaged",
    ),
    "another content": (
        lambda own, other: Received(OWN, order(own, Kind.COMMANDS, 9).payload.replace(b"sync-now", b"restart"), True),
        "forged, or damaged",
    ),
    "for everybody": (
        lambda own, other: _moved(order(own, Kind.DESIRED, 9), topic("plant", "_all", Kind.DESIRED)), "not for wrist-1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_order_is_refused(name: str, wrist: Wrist, signer: Signer, tmp_path: Path) -> None:
    make, problem = FORGERIES[name]
    assert problem in wrist.hear(make(signer, made_key(tmp_path, "other.pem")))
    assert done(wrist) == []


def test_an_older_order_is_refused_after_a_restart_too_and_its_command_is_not_done_again(
    wrist: Wrist, signer: Signer
) -> None:
    first, second = (order(signer, Kind.COMMANDS, number, command(digit)) for number, digit in ((5, "1"), (6, "2")))
    wrist.hear(first)
    done(wrist)
    wrist.hear(second)
    assert done(wrist) == ["2"], "the first is forgotten: the server no longer asks"
    assert "older than what this device has seen: order 5 of series 7, after 6 of series 7" in wrist.hear(first)
    wrist.start()
    assert "older than what this device has seen" in wrist.hear(first)
    assert done(wrist) == ["2"]
    assert wrist.hear(second) == ""


def test_a_topic_that_somebody_cleared_does_not_make_the_device_forget_what_it_did(
    wrist: Wrist, signer: Signer
) -> None:
    message = order(signer, Kind.COMMANDS, 5, command("1"))
    wrist.hear(message)
    assert done(wrist) == ["1"]
    assert wrist.hear(Received(OWN, b"", True)) == ""
    assert done(wrist) == ["1"]
    for kind in ORDERS:
        assert wrist.hear(Received(topic("plant", "wrist-1", kind), b"", True)) == ""


def test_a_bundle_that_was_withdrawn_does_not_come_back_and_a_cleared_topic_withdraws_none(
    wrist: Wrist, signer: Signer
) -> None:
    ordered, name = order(signer, Kind.DESIRED, 5), topic("plant", "wrist-1", Kind.DESIRED)
    assert wrist.opened(ordered) == ORDERS[Kind.DESIRED]
    assert wrist.opened(Received(name, b"", True)) is None, "anybody may clear a topic"
    assert wrist.opened(order(signer, Kind.DESIRED, 6, WITHDRAWN)) == WITHDRAWN
    with pytest.raises(RemoteError, match="older than what this device has seen: order 5 of series 7, after 6"):
        wrist.opened(ordered)
    with pytest.raises(RemoteError, match="the desired bundle has no seal"):
        wrist.opened(Received(name, WITHDRAWN, True))


def test_an_empty_list_from_before_the_key_says_nothing_like_a_cleared_topic(
    wrist: Wrist, signer: Signer, tmp_path: Path
) -> None:
    wrist.hear(order(signer, Kind.COMMANDS, 5, command("1")))
    assert done(wrist) == ["1"]
    none = Commands(()).encode()
    before = order(made_key(tmp_path, "other.pem"), Kind.COMMANDS, 9, none)
    assert wrist.hear(Received(OWN, none, True), before) == ""
    assert done(wrist) == ["1"]


def test_each_kind_has_numbers_of_its_own_and_none_is_a_heads(wrist: Wrist, signer: Signer) -> None:
    assert wrist.hear(order(signer, Kind.COMMANDS, 900), order(signer, Kind.CONFIGURATION, 5)) == ""
    assert wrist.hear(sealed(signer, head_topic(), head(3, 100), 3)) == ""
    wrist.start()
    assert wrist.version == 3
    assert "older" in wrist.hear(order(signer, Kind.CONFIGURATION, 4, Configuration(4).encode()))


def test_the_same_words_again_are_not_checked_again_and_no_flood_keeps_a_device_busy(
    wrist: Wrist, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each check is a process."""
    monkeypatch.setattr("edge_agent.seal_checks.checks_are_quick", lambda: False)
    checked: list[bytes] = []

    def signed(key: bytes, text: bytes, signature: bytes, timeout_s: float) -> bool:
        checked.append(text)
        return True

    monkeypatch.setattr("edge_agent.seal_checks.signed_by", signed)
    for _ in range(5):
        wrist.hear(order(signer, Kind.COMMANDS, 1))
        wrist.loop.handle(Connected(False))
    assert len(checked) == 1
    for number in range(10, 40):
        assert wrist.hear(order(signer, Kind.COMMANDS, number, command(f"{number % 10}"))) == ""
    assert len(checked) == 20
    assert wrist.hear(sealed(signer, head_topic(), head(3, 100), 3)) == "", "heads have checks of their own"
    assert "9" not in done(wrist)
    wrist.clock.now_s += 60.0
    assert done(wrist)[-1] == "9", "the newest waits for its turn"
    assert len(checked) == 22


def test_what_came_between_the_same_words_does_not_come_back(wrist: Wrist, signer: Signer) -> None:
    """Asked for and withdrawn while the device was away, and kept by who reads the broker."""
    none = Commands(()).encode()
    wrist.hear(order(signer, Kind.COMMANDS, 5, none), order(signer, Kind.COMMANDS, 7, none))
    assert "older than what this device has seen" in wrist.hear(order(signer, Kind.COMMANDS, 6, command("1")))
    assert done(wrist) == []
    assert wrist.hear(order(signer, Kind.COMMANDS, 5, none)) == "", "the same words change nothing"


def test_an_older_order_is_refused_in_the_store_of_another_feature_space_too(wrist: Wrist, signer: Signer) -> None:
    wrist.hear(order(signer, Kind.CONFIGURATION, 6))
    wrist.store = MemoryStore()
    wrist.start()
    assert "older than what this device has seen" in wrist.hear(order(signer, Kind.CONFIGURATION, 5))
    seen = wrist.folder / "orders.seen"
    seen.write_bytes(seen.read_bytes()[:-1] + b"?")
    wrist.start()
    assert "older" in wrist.hear(order(signer, Kind.CONFIGURATION, 5)), "its own store knows by now"
    wrist.store = MemoryStore()
    wrist.start()
    assert wrist.hear(order(signer, Kind.CONFIGURATION, 6)) == ""


def test_forged_orders_that_flood_a_device_do_not_drive_out_those_of_other_kinds_nor_the_newest(
    wrist: Wrist, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each check is a process."""
    monkeypatch.setattr("edge_agent.seal_checks.checks_are_quick", lambda: False)
    liar = made_key(tmp_path, "other.pem")
    monkeypatch.setattr(
        "edge_agent.seal_checks.signed_by", lambda key, text, signature, timeout_s: signer.sign(text) == signature
    )

    def flood(count: int) -> None:
        for number in range(count):
            wrist.loop.handle(forged(signer, liar, number))

    flood(30)
    settings = order(signer, Kind.CONFIGURATION, 5)
    assert wrist.hear(settings) == ""
    flood(30)
    wrist.hear(order(signer, Kind.COMMANDS, 9, command("1")))
    assert wrist.loop.agent.downlink.order_of(Kind.CONFIGURATION) == (0, 0)
    wrist.clock.now_s += 60.0
    flood(3)
    for _ in range(4):
        wrist.loop.turn()
    assert wrist.loop.agent.downlink.order_of(Kind.CONFIGURATION) == (7, 5)
    assert done(wrist) == ["1"]


def test_a_flood_that_drives_orders_out_is_told(
    wrist: Wrist, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.seal_checks.checks_are_quick", lambda: False)
    monkeypatch.setattr(
        "edge_agent.seal_checks.signed_by", lambda key, text, signature, timeout_s: signer.sign(text) == signature
    )
    liar = made_key(tmp_path, "other.pem")
    for number in range(20):
        wrist.loop.handle(forged(signer, liar, number))
    assert wrist.hear(order(signer, Kind.COMMANDS, 5, command("1"))) == "", "it waits"
    for number in range(20):
        wrist.loop.handle(order(liar, Kind.COMMANDS, 10**6 + number))
    assert wrist.loop.refused == 40
    assert [wrist.hear(forged(signer, liar, 100 + number)) for number in range(3)] == [""] * 3
    assert "4 commands wait, and others were given up" in wrist.hear(forged(signer, liar, 200))
    assert wrist.transport.events[-1].name == "orders-flooded"
    before = len(wrist.transport.events)
    for number in range(1000):
        wrist.loop.handle(forged(signer, liar, 201 + number))
    assert len(wrist.transport.events) - before < 10, "a flood makes no flood"


def test_orders_that_name_another_key_drive_out_none_that_waits(
    wrist: Wrist, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.seal_checks.checks_are_quick", lambda: False)
    monkeypatch.setattr(
        "edge_agent.seal_checks.signed_by", lambda key, text, signature, timeout_s: signer.sign(text) == signature
    )
    liar = made_key(tmp_path, "other.pem")
    for number in range(20):
        wrist.loop.handle(forged(signer, liar, number))
    wrist.loop.handle(order(signer, Kind.COMMANDS, 5, command("1")))
    for number in range(200):
        wrist.loop.handle(order(liar, Kind.COMMANDS, 10**6 + number))
    wrist.clock.now_s += 60.0
    assert done(wrist) == ["1"]


def test_hundreds_of_forged_orders_within_a_minute_starve_no_honest_one(
    wrist: Wrist, signer: Signer, tmp_path: Path
) -> None:
    if not checks_are_quick():
        pytest.skip("this Python has no libcrypto of its own; then twenty are checked in a minute")
    liar = made_key(tmp_path, "other.pem")
    for number in range(600):
        wrist.loop.handle(forged(signer, liar, number))
    assert wrist.hear(order(signer, Kind.COMMANDS, 5, command("1"))) == ""
    assert done(wrist) == ["1"]
    assert wrist.loop.refused == 600
