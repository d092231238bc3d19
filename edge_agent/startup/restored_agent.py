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
from edge_agent.store import OWNER, RECOVERED, RECOVERY, RELEASE, Changes, Store
from edge_agent.sync import SyncState
from headway.bundle import Variant, read_public_key, read_variant
from headway.fields import canonical_json
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
    wall_s: float = 0.0,
) -> Agent:
    """Restore the agent from its store, or begin a new history. Counts the start as a boot, durably.

    draw: gives that many random bits; a new history's epoch comes from it. ack_record: epoch and counter that are
    known to be acknowledged; a store that is behind them was restored from an older backup, and begins a new epoch.
    counted: boot number and last spool file that another store of this device has reached. trial: the bundle may go
    again, so its release is not noted. wall_s: this machine's clock, for people, beside what a recovery notes.

    A store that another device has filled begins a new epoch: what it holds is counted under that device's name.
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
        early_labels_max=config.policy.early_labels_max,
        run_id=draw(DRAWN_BITS),
        trial=config.trial,
        asking=config.labels_wanted,
        draw=draw,
    )
    resume(agent, store)
    state = agent.sync_state
    state.begin_boot(*counted)
    changes, saved = agent.changes(), store.load()
    owner = saved.get(OWNER, config.device.encode()).decode()
    is_new = not saved.keys() - {RECOVERED}
    if RECOVERED in saved and not is_new:
        changes = changes.then(agent.fork(saved[RECOVERED].decode()))
    elif owner != config.device:
        changes = changes.then(agent.fork(f"the store is that of device {owner}, and this is {config.device}"))
    elif state.epoch == ack_record[0] and state.counter < ack_record[1]:
        reason = f"the store is at counter {state.counter}, but {ack_record[1]} was acknowledged"
        changes = changes.then(agent.fork(reason))
    noted: dict[str, bytes] = {} if owner == config.device and OWNER in saved else {OWNER: config.device.encode()}
    if RECOVERED in saved:
        changes = changes.then(Changes({}, dropped=(RECOVERED,)))
        noted[RECOVERY] = canonical_json({"problem": saved[RECOVERED].decode(), "wall_s": wall_s})
    # the release is noted only now: a bundle that no runtime here can run must not shut out the one before it
    if not trial and variant.release > int(saved.get(RELEASE, b"0")):
        noted[RELEASE] = str(variant.release).encode()
    store.commit(replace(changes, state=changes.state | noted))
    return agent


def accepted_variant(config: AgentConfig, store: Store, may_be_older: bool = False) -> Variant:
    """The configured bundle, signed as demanded and no older than any this device has run. Raises BundleError.

    may_be_older: the device was told to go back to it.
    """
    public_key = None if config.public_key is None else read_public_key(config.public_key)
    newest = 0 if may_be_older else int(store.load().get(RELEASE, b"0"))
    return read_variant(config.bundle, public_key=public_key, release_min=newest)
