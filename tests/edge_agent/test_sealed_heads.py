"""A device with keys of its server takes no head and no prior without their seal, and none that is older."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.loop import DeviceLoop
from edge_agent.store import MemoryStore
from headway.errors import ConfigError
from headway.ports import Connected, Received
from headway.private_keys import Signer, generate_key, read_signer
from headway.wire import ALL, KEY_ID_BYTES, Kind, Seal, parse_topic, sealed_text, space_name, topic, with_seal
from tests.device import ManualClock, RecordingTransport, open_device
from tests.edge_agent.test_fleet_prior import head, prior
from tests.edge_agent.variants import variant


def made_key(folder: Path, name: str = "heads.pem") -> Signer:
    generate_key(folder / name)
    return read_signer(folder / name, "keygen")


def sealed(signer: Signer, name: str, payload: bytes, version: int, series: int = 7) -> Received:
    text = sealed_text(name, payload, series, version)
    seal = Seal(series, version, signer.public_key[:KEY_ID_BYTES], signer.sign(text))
    return Received(name, with_seal(payload, seal), retain=True)


def head_topic(fleet: str = "plant") -> str:
    return topic(fleet, ALL, Kind.HEAD)


@dataclass
class Wrist:
    """A device with the keys of a file, over one store."""

    folder: Path
    keys: Path | None

    def __post_init__(self) -> None:
        self.store, self.clock = MemoryStore(), ManualClock()
        self.start()

    def start(self) -> None:
        sensor = SensorSettings(self.folder / "spool", self.folder / "predictions")
        sync = SyncSettings(head_keys=self.keys)
        config = AgentConfig("wrist-1", "plant", self.folder / "model.hwb", self.folder, sensor, sync=sync)
        self.transport = RecordingTransport()
        self.loop: DeviceLoop = open_device(config, self.clock, self.store, transport=self.transport)
        self.loop.handle(Connected(True))

    def hear(self, *messages: Received) -> str:
        """What the device complains of; nothing for messages that it believes."""
        before = len(self.transport.events)
        for message in messages:
            self.loop.handle(message)
        return " ".join(str(event.detail) for event in self.transport.events[before:])

    def opened(self, message: Received) -> bytes | None:
        """An order as the device acts on it. Raises RemoteError for one that it does not believe."""
        return self.loop._fleet.order(message.topic, parse_topic(message.topic).kind, message.payload)

    @property
    def version(self) -> int:
        return self.loop.agent.learner.fleet_version


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return made_key(tmp_path)


@pytest.fixture
def wrist(tmp_path: Path, signer: Signer) -> Wrist:
    return Wrist(tmp_path, tmp_path / "heads.pem.pub")


def test_a_head_with_the_seal_is_taken_up(wrist: Wrist, signer: Signer) -> None:
    assert wrist.hear(sealed(signer, head_topic(), head(3, 100), 3)) == ""
    assert wrist.version == 3
    own = topic("plant", space_name(variant().space), Kind.HEAD)
    assert wrist.hear(sealed(signer, own, head(4, 100), 4)) == ""
    assert wrist.version == 4


def test_a_head_without_a_seal_is_refused_in_one_line_and_counted(wrist: Wrist) -> None:
    said = wrist.hear(Received(head_topic(), head(3, 100), True))
    assert "the head has no seal, and [sync] head_keys demands one" in said
    assert (wrist.version, wrist.loop.refused) == (0, 1)


def test_a_device_without_keys_takes_both(tmp_path: Path, signer: Signer) -> None:
    plain = Wrist(tmp_path, None)
    plain.hear(Received(head_topic(), head(3, 100), True))
    assert plain.version == 3
    plain.hear(sealed(signer, head_topic(), head(4, 100), 4))
    assert (plain.version, plain.loop.refused) == (4, 0)


FORGERIES: dict[str, tuple[Callable[[Signer, Signer], Received], str]] = {
    "another key": (lambda own, other: sealed(other, head_topic(), head(9, 10), 9), "not in [sync] head_keys"),
    "another fleet": (lambda own, other: sealed(own, head_topic("works"), head(9, 10), 9), "not for wrist-1 of plant"),
    "moved from another fleet": (
        lambda own, other: Received(head_topic(), sealed(own, head_topic("works"), head(9, 10), 9).payload, True),
        "forged, or damaged",
    ),
    "another number": (lambda own, other: sealed(own, head_topic(), head(9, 10), 8), "has the seal of head 8"),
    "another content": (
        lambda own, other: Received(head_topic(), sealed(own, head_topic(), head(9, 10), 9).payload[:-4] + b"\0\0\0?"),
        "forged, or damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_head_is_refused(name: str, wrist: Wrist, signer: Signer, tmp_path: Path) -> None:
    make, problem = FORGERIES[name]
    assert problem in wrist.hear(make(signer, made_key(tmp_path, "other.pem")))
    assert wrist.version == 0


def test_an_older_head_is_refused_after_a_restart_too(wrist: Wrist, signer: Signer) -> None:
    older, newer = (sealed(signer, head_topic(), head(version, 100), version) for version in (3, 5))
    wrist.hear(older, newer)
    assert "older than what this device has seen: series 7 version 3, after series 7 version 5" in wrist.hear(older)
    wrist.start()
    assert "older than what this device has seen" in wrist.hear(older)
    assert wrist.hear(newer) == ""
    assert wrist.version == 5


def test_a_server_that_lost_everything_goes_on_with_a_new_series(wrist: Wrist, signer: Signer) -> None:
    wrist.hear(sealed(signer, head_topic(), head(500, 100), 500))
    assert "older" in wrist.hear(sealed(signer, head_topic(), head(1, 100), 1))
    assert wrist.hear(sealed(signer, head_topic(), head(1, 100), 1, series=8)) == ""
    assert wrist.version == 1
    assert "older" in wrist.hear(sealed(signer, head_topic(), head(501, 100), 501))


def test_two_keys_hold_while_they_change(tmp_path: Path, signer: Signer) -> None:
    coming = made_key(tmp_path, "next.pem")
    both = tmp_path / "both.pub"
    both.write_text((tmp_path / "heads.pem.pub").read_text() + (tmp_path / "next.pem.pub").read_text())
    wrist = Wrist(tmp_path, both)
    for version, key in ((3, signer), (4, coming)):
        assert wrist.hear(sealed(key, head_topic(), head(version, 100), version)) == ""
    assert wrist.version == 4
    wrist.keys = tmp_path / "next.pem.pub"
    wrist.start()
    assert "not in [sync] head_keys" in wrist.hear(sealed(signer, head_topic(), head(5, 100), 5))


def test_a_prior_needs_the_seal_for_this_device(wrist: Wrist, signer: Signer) -> None:
    own, other = topic("plant", "wrist-1", Kind.PRIOR), topic("plant", "wrist-2", Kind.PRIOR)
    wrist.hear(sealed(signer, head_topic(), head(3, 900), 3))
    assert "no seal" in wrist.hear(Received(own, prior()))
    assert "forged" in wrist.hear(Received(own, sealed(signer, other, prior(), 3).payload))
    wrist.hear(sealed(signer, own, prior(), 2))
    assert wrist.loop.refused == 3, "it is older than the head"
    assert wrist.loop.agent.learner.prior_samples == 0
    assert wrist.hear(sealed(signer, own, prior(), 3)) == ""
    assert wrist.loop.agent.learner.prior_samples == 300


def test_only_what_is_new_is_checked_and_no_flood_keeps_a_device_busy(
    wrist: Wrist, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each check is a process."""
    monkeypatch.setattr("headway.bundle.ed25519.loaded_libcrypto", lambda: None)
    begun: list[object] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: begun.append(args) or run(*args, **options))
    good = sealed(signer, head_topic(), head(3, 100), 3)
    for _ in range(5):
        wrist.hear(good)
    assert len(begun) == (1 if shutil.which("openssl") else 0)
    forged = [sealed(signer, head_topic("works"), head(version, 1), version).payload for version in range(10, 50)]
    wrist.hear(*(Received(head_topic(), payload, True) for payload in forged))
    assert len(begun) <= 20
    wrist.clock.now_s += 60.0
    assert wrist.hear(sealed(signer, head_topic(), head(60, 100), 60)) == ""


def test_a_device_whose_keys_cannot_be_read_does_not_start(tmp_path: Path, signer: Signer) -> None:
    with pytest.raises(ConfigError, match="is a private key; give the .pub file that edge-fleet keygen wrote"):
        Wrist(tmp_path, tmp_path / "heads.pem")
    (tmp_path / "none.pub").write_text("\n")
    with pytest.raises(ConfigError, match="holds 0 public keys; give 1 to 4, one in each line"):
        Wrist(tmp_path, tmp_path / "none.pub")
