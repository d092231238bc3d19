"""Which bundles a device accepts: signed as configured, and no older than any it has run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, read_config
from edge_agent.delivery import Slots
from edge_agent.startup.restored_agent import accepted_variant, open_agent
from edge_agent.store.store import SQLiteStore
from headway.errors import BundleError, ConfigError
from headway.wire import Desired
from tests.edge_agent.test_config import MINIMAL
from tests.headway.bundles import PUBLIC_KEY, sign, small_variant


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    (tmp_path / "agent.toml").write_text(MINIMAL.replace("[storage]", 'public_key = "fleet.pub"\n[storage]'))
    (tmp_path / "fleet.pub").write_text(f"headway-ed25519 {PUBLIC_KEY.hex()}\n")
    (tmp_path / "state").mkdir()
    return read_config(tmp_path / "agent.toml")


def start(config: AgentConfig, slots: Slots | None = None) -> int:
    """What the daemon does about the bundle, through to its first commit; returns the release that runs."""
    store = SQLiteStore(config.state_dir / "agent.sqlite")
    try:
        if slots is None:
            variant = accepted_variant(config, store)
        else:
            variant = accepted_variant(replace(config, bundle=slots.bundle), store, slots.may_be_older())
        open_agent(config, variant, store)
        return variant.release
    finally:
        store.close()


def test_a_signed_bundle_runs_and_its_release_is_remembered(config: AgentConfig) -> None:
    for release in (3, 3, 5):
        small_variant(release).write(config.bundle, sign)
        assert start(config) == release
    small_variant(4).write(config.bundle, sign)
    with pytest.raises(BundleError, match="release 4 is older than 5, which was already accepted"):
        start(config)
    small_variant(5).write(config.bundle, sign)
    assert start(config) == 5


def test_going_back_on_request_works_after_a_restart_too_and_for_that_file_alone(config: AgentConfig) -> None:
    small_variant(1).write(config.bundle, sign)
    slots = Slots(config.state_dir, config.bundle)
    assert start(config, slots) == 1
    slots.begin(Desired("0" * 64, 1, "tiny", "2.0.0", 2))
    small_variant(2).write(slots.idle / "bundle.hwb", sign)
    slots.switch("space", "space", 1, 0)
    slots.confirm(2)
    # a restart after the trial notes the release: from now on nothing older is accepted
    assert start(config, slots) == 2
    assert slots.go_back("asked to", 2, 0) == ""
    for _ in range(2):
        assert start(config, Slots(config.state_dir, config.bundle)) == 1
    replace(small_variant(1), version="1.4.1").write(config.bundle, sign)
    with pytest.raises(BundleError, match="release 1 is older than 2, which was already accepted"):
        start(config, Slots(config.state_dir, config.bundle))


def test_an_unsigned_bundle_is_refused_where_a_key_is_configured(config: AgentConfig) -> None:
    small_variant().write(config.bundle)
    with pytest.raises(BundleError, match="not signed, and a public key is configured"):
        start(config)
    assert start(replace(config, public_key=None)) == 3


def test_a_missing_key_is_a_fault_of_the_configuration(config: AgentConfig) -> None:
    small_variant().write(config.bundle, sign)
    with pytest.raises(ConfigError, match="cannot read public key .*gone.pub"):
        start(replace(config, public_key=Path("gone.pub")))


def test_a_bundle_that_was_only_looked_at_does_not_count(config: AgentConfig) -> None:
    """It may be one that no runtime here can run; the one before it must stay possible."""
    store = SQLiteStore(config.state_dir / "agent.sqlite")
    small_variant(9).write(config.bundle, sign)
    assert accepted_variant(config, store).release == 9
    small_variant(3).write(config.bundle, sign)
    assert accepted_variant(config, store).release == 3
    store.close()
