"""Which bundle a start runs: the active one, the one before when a trial fails, a newer one that was installed here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import AgentConfig
from edge_agent.delivery.slots import FACTORY, Slots, file_sha256
from edge_agent.delivery_settings import DeliverySettings
from edge_agent.startup import active_bundle as opening
from edge_agent.startup.active_bundle import InferenceFailed, Opened, open_bundle
from edge_agent.store.store import SQLiteStore
from headway.arrays import Float32
from headway.bundle.variant import Variant
from headway.errors import BundleError
from headway.mqtt import MqttSettings
from headway.ports import SystemClock
from headway.wire.bundle_transfer import Desired
from tests.edge_agent.variants import IdentityRuntime, variant, windows


class FailingRuntime(IdentityRuntime):
    """Raises, or gives what is not finite, as told."""

    def __init__(self, raises: bool) -> None:
        self._raises = raises

    def embed(self, inputs: Float32) -> Float32:
        if self._raises:
            raise RuntimeError("node 7\nfailed to invoke")
        return np.full_like(inputs, np.inf)


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_runtime", lambda variant, clock: IdentityRuntime())


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    variant().write(tmp_path / "model.hwb")
    return AgentConfig(
        "pump", "plant", tmp_path / "model.hwb", tmp_path, delivery=DeliverySettings(), mqtt=MqttSettings()
    )


def slots_of(config: AgentConfig) -> Slots:
    return Slots(config.state_dir, config.bundle)


def open_now(config: AgentConfig) -> tuple[Opened, Slots]:
    slots = slots_of(config)
    opened = open_bundle(config, slots, SystemClock())
    opened.store.close()
    return opened, slots


def deliver(config: AgentConfig, made: Variant) -> Path:
    """Put a bundle into the idle slot and switch to it, as a delivery does."""
    slots = slots_of(config)
    payload = made.encode()
    path = config.state_dir / "new.hwb"
    path.write_bytes(payload)
    desired = Desired(file_sha256(path), len(payload), made.name, made.version, made.release)
    slots.begin(desired)
    slots.append(0, payload)
    assert slots.whole(desired)
    slots.switch(made.space, variant().space, boot=1, consumed=4)
    return slots.bundle


def test_without_deliveries_the_configured_bundle_runs(config: AgentConfig) -> None:
    opened, slots = open_now(config)
    assert opened.variant.release == 1
    assert slots.pointer.active == FACTORY
    assert not (config.state_dir / "slots").exists()


def test_a_delivered_bundle_runs_on_trial_and_its_release_is_noted_only_afterwards(config: AgentConfig) -> None:
    open_now(config)
    deliver(config, replace(variant(), release=5))
    opened, slots = open_now(config)
    assert (opened.variant.release, slots.pointer.starts) == (5, 1)
    assert opened.sha256 == file_sha256(slots.bundle), "which need not be read once more"
    assert opened.agent.sync_state.consumed == 4
    assert opened.agent.sync_state.boot == 2
    store = SQLiteStore(slots.store_dir / "agent.sqlite")
    assert store.load()["release"] == b"1"
    store.close()
    slots.confirm(5)
    opened, slots = open_now(config)
    store = SQLiteStore(slots.store_dir / "agent.sqlite")
    assert store.load()["release"] == b"5"
    store.close()


def test_a_bundle_damaged_on_the_disk_goes_by_itself_while_on_trial(config: AgentConfig) -> None:
    path = deliver(config, replace(variant(), release=5))
    path.write_bytes(path.read_bytes()[:-1])
    opened, slots = open_now(config)
    assert (opened.variant.release, slots.pointer.active) == (1, FACTORY)
    assert "truncated" in slots.pointer.rolled_back


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def lost(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    lost(path)
    path.mkdir()


def a_fifo(path: Path) -> None:
    """Whoever reads it waits for ever."""
    lost(path)
    os.mkfifo(path)


def another_class(path: Path) -> None:
    """One bit, and a good bundle whose answers have another name."""
    path.write_bytes(path.read_bytes().replace(b'"idle"', b'"hdle"'))


def another_order(path: Path) -> None:
    """One digit of what the order says of it; the bundle itself is whole, and must not be taken for one that failed."""
    order = path.with_name("desired.json")
    wanted = Desired.decode(order.read_bytes())
    order.write_bytes(replace(wanted, sha256=wanted.sha256[:-1] + ("0" if wanted.sha256[-1] != "0" else "1")).encode())


@pytest.mark.parametrize("harm", [damaged, emptied, lost, a_folder, a_fifo, another_class, another_order])
def test_a_bundle_that_ran_and_is_damaged_on_the_disk_goes_and_may_come_again(
    config: AgentConfig, harm: Callable[[Path], None]
) -> None:
    open_now(config)
    path = deliver(config, replace(variant(), release=5))
    slots_of(config).confirm(5)
    boot = open_now(config)[0].agent.sync_state.boot
    payload = path.read_bytes()
    harm(path)
    for start in (1, 2):
        opened, slots = open_now(config)
        assert (opened.variant.release, slots.pointer.active) == (1, FACTORY)
        assert opened.agent.sync_state.boot == boot + start
    assert slots.pointer.rolled_back
    assert slots.pointer.floor == 4, "so that release 5 is no old one"
    again = config.state_dir / "again.hwb"
    again.write_bytes(payload)
    assert file_sha256(again) not in slots.pointer.refused


def test_a_bundle_that_ran_and_is_damaged_is_named_with_the_fix_where_no_other_is_here(config: AgentConfig) -> None:
    path = deliver(config, replace(variant(), release=5))
    slots_of(config).confirm(5)
    damaged(path)
    damaged(config.bundle)
    with pytest.raises(BundleError, match=r"truncated.*; no bundle before it is here, give a good one as bundle\.path"):
        open_now(config)
    assert slots_of(config).pointer.active == "a"


def flipped(path: Path) -> None:
    """One digit of the space's name: nothing but the copy tells it from a good one, which names another store."""
    payload, times = path.read_bytes(), path.stat()
    where = payload.index(variant().space.encode()) + 3
    path.write_bytes(payload[:where] + (b"0" if payload[where : where + 1] != b"0" else b"1") + payload[where + 1 :])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("harm", [damaged, emptied, lost, a_folder, a_fifo, flipped])
def test_a_damaged_pointer_is_read_from_its_copy_and_written_again(
    config: AgentConfig, harm: Callable[[Path], None]
) -> None:
    deliver(config, replace(variant(), release=5))
    slots_of(config).confirm(5)
    pointer, path = slots_of(config).pointer, config.state_dir / "slots" / "pointer.json"
    harm(path)
    opened, slots = open_now(config)
    assert (opened.variant.release, slots.pointer) == (5, pointer)
    assert "pointer.copy tells which bundle runs" in opened.pointed
    if harm is not a_folder:  # which a file cannot take the place of
        assert path.read_bytes() == pointer.encode()
        assert open_now(config)[0].pointed == ""


def test_a_pointer_that_an_earlier_agent_wrote_is_right_and_gets_its_copy(config: AgentConfig) -> None:
    deliver(config, replace(variant(), release=5))
    copy = config.state_dir / "slots" / "pointer.copy"
    stale = copy.read_bytes()
    slots_of(config).confirm(5)
    newest = copy.read_bytes()
    for before in (stale, None):
        copy.unlink()
        if before is not None:
            copy.write_bytes(before)
            os.utime(copy, (0, 0))
        opened, slots = open_now(config)
        assert (opened.variant.release, slots.pointer.confirmed, opened.pointed) == (5, True, "")
        assert copy.read_bytes() == newest


def test_starts_that_come_to_nothing_bring_the_old_bundle_back(config: AgentConfig) -> None:
    deliver(config, replace(variant(), release=5))
    releases = [open_now(config)[0].variant.release for _ in range(5)]
    assert releases == [5, 5, 5, 1, 1]
    assert slots_of(config).pointer.rolled_back == "3 starts came to nothing"


@pytest.mark.parametrize(("raises", "problem"), [(True, "inference failed: node 7 failed"), (False, "not finite")])
def test_inference_that_fails_on_trial_is_the_bundles_fault(
    config: AgentConfig, monkeypatch: pytest.MonkeyPatch, raises: bool, problem: str
) -> None:
    deliver(config, replace(variant(), release=5))
    monkeypatch.setattr(opening, "open_runtime", lambda variant, clock: FailingRuntime(raises))
    opened, _ = open_now(config)
    with pytest.raises(InferenceFailed, match=problem):
        opened.pipeline.features(windows(2)[0])


def test_a_newer_bundle_installed_on_the_device_wins(config: AgentConfig) -> None:
    deliver(config, replace(variant(), release=5))
    slots_of(config).confirm(5)
    assert open_now(config)[0].variant.release == 5
    replace(variant(), release=6).write(config.bundle)
    opened, slots = open_now(config)
    assert (opened.variant.release, slots.pointer.active) == (6, FACTORY)


def test_without_a_network_nobody_ends_the_trial_so_there_is_none(config: AgentConfig) -> None:
    deliver(config, replace(variant(), release=5))
    offline = replace(config, mqtt=None)
    for _ in range(6):
        assert open_now(offline)[0].variant.release == 5
