"""Which bundle a start runs: the active one, the one before when a trial fails, a newer one that was installed here."""

from __future__ import annotations

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


def test_after_the_trial_there_is_nothing_to_go_back_to(config: AgentConfig) -> None:
    path = deliver(config, replace(variant(), release=5))
    slots_of(config).confirm(5)
    path.write_bytes(b"")
    with pytest.raises(BundleError):
        open_now(config)


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
