"""Reads what a device has learned and sent from its store, beside the running agent."""

from __future__ import annotations

import fcntl
import os

from edge_agent.config import AgentConfig
from edge_agent.delivery import Slots
from edge_agent.labels import WAITING
from edge_agent.learner import HeadLearner
from edge_agent.startup import restore_learner
from edge_agent.store import DATABASE, SQLiteStore
from headway.bundle import read_variant
from headway.errors import StoreError

LOCK = "agent.lock"


def read_status(config: AgentConfig) -> dict[str, object]:
    """State of the last commit. Raises StoreError when the agent has never run here."""
    slots = Slots(config.state_dir, config.bundle)
    path = slots.store_dir / DATABASE
    if not path.exists():
        raise StoreError(f"{path} does not exist; the agent has not run with this configuration yet")
    store = SQLiteStore(path, read_only=True)
    variant = read_variant(slots.bundle)
    learner = HeadLearner(variant, config.learner)
    sync = restore_learner(store, learner)
    if sync is None:
        raise StoreError(f"{path} is empty; the agent has not finished its first start yet")
    (rows, size), saved = store.outbox_size(), store.load()
    store.close()
    return {
        "device": config.device,
        "fleet": config.fleet,
        "running": _is_running(config),
        "condition": _condition(config) if _is_running(config) else "stopped",
        "bundle": {"name": variant.name, "version": variant.version, "sha256": variant.sha256},
        "task": str(learner.task),
        "learner": learner.kind,
        "classes": ", ".join(name for name in learner.classes if name not in learner.removed),
        "serving": learner.serving,
        "labels": learner.labels,
        "fleet_head_version": learner.fleet_version,
        # labels of other devices that this one started from
        "prior_labels": learner.prior_samples,
        "served": learner.served_sums.summary(),
        "frozen": learner.frozen_sums.summary(),
        "recent": learner.recent_sums.summary(),
        "refused_steps": learner.refused_steps,
        "sync": {"epoch": sync.epoch, "counter": sync.counter, "acked": sync.acked, "boot": sync.boot},
        "waiting_labels": sum(name.startswith(WAITING) for name in saved),
        "files_consumed": sync.consumed,
        # labels that this epoch leaves out, because older ones may have counted them (docs/protocol.md, 5.6)
        "labels_of_older_epochs": sync.before,
        "databases_set_aside": sorted(path.name for path in slots.store_dir.glob(f"{DATABASE}.damaged-*")),
        "outbox": {"rows": rows, "bytes": size},
    }


def status_text(status: dict[str, object]) -> str:
    """The same for people, a line each."""
    lines = []
    for name, value in status.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_short(item)}" for key, item in value.items())
        lines.append(f"{name.replace('_', ' '):<20}{_short(value)}")
    return "\n".join(lines)


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}"
    text = str(value)
    return text[:16] if len(text) == 64 else text


def _condition(config: AgentConfig) -> str:
    """What the running agent last wrote about itself."""
    return (config.state_dir / LOCK).read_text("utf-8", errors="replace").strip()


def _is_running(config: AgentConfig) -> bool:
    """True while a process holds the state folder's lock."""
    try:
        descriptor = os.open(config.state_dir / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
