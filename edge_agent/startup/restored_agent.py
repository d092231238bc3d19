"""Opens an agent on a store: restores what was saved, or begins a new history."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.startup.restore import resume
from edge_agent.store import RECOVERED, Changes, Store
from edge_agent.sync import SyncState
from headway.bundle import Variant, read_public_key, read_variant
from headway.wire import DRAWN_BITS


def open_agent(
    config: AgentConfig,
    variant: Variant,
    store: Store,
    draw: Callable[[int], int] = secrets.randbits,
    ack_record: tuple[int, int] = (0, 0),
    *,
    counted: tuple[int, int] = (0, 0),
    trial: bool = False,
) -> Agent:
    """Restore the agent from its store, or begin a new history. Counts the start as a boot, durably.

    draw: gives that many random bits; a new history's epoch comes from it. ack_record: epoch and counter that are
    known to be acknowledged; a store that is behind them was restored from an older backup, and begins a new epoch.
    counted: boot number and last spool file that another store of this device has reached. trial: the bundle may go
    again, so its release is not noted.
    """
    learner, windows = HeadLearner(variant, config.learner), RememberedWindows(config.learner.horizon_rows)
    agent = Agent(
        config.device,
        learner,
        config.sync,
        SyncState(epoch=draw(DRAWN_BITS)),
        windows=windows,
        waiting_rows_max=config.policy.waiting_rows_max,
        waiting_bytes_max=config.policy.waiting_bytes_max,
        run_id=draw(DRAWN_BITS),
        draw=draw,
    )
    resume(agent, store)
    state = agent.sync_state
    state.begin_boot(*counted)
    changes, saved = agent.changes(), store.load()
    if RECOVERED in saved:
        changes = changes.then(agent.fork(saved[RECOVERED].decode()))
        changes = changes.then(Changes({}, dropped=(RECOVERED,)))
    elif state.epoch == ack_record[0] and state.counter < ack_record[1]:
        reason = f"the store is at counter {state.counter}, but {ack_record[1]} was acknowledged"
        changes = changes.then(agent.fork(reason))
    # the release is noted only now: a bundle that no runtime here can run must not shut out the one before it
    if not trial and variant.release > int(saved.get("release", b"0")):
        changes = replace(changes, state=changes.state | {"release": str(variant.release).encode()})
    store.commit(changes)
    return agent


def accepted_variant(config: AgentConfig, store: Store) -> Variant:
    """The configured bundle, signed as demanded and no older than any this device has run. Raises BundleError."""
    public_key = None if config.public_key is None else read_public_key(config.public_key)
    newest = int(store.load().get("release", b"0"))
    return read_variant(config.bundle, public_key=public_key, release_min=newest)
