"""Reads what a device has learned and sent from its store, beside the running agent."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from edge_agent.commands.explain import doubts_in_words
from edge_agent.condition import CONDITION_BYTES, LOCK, DeviceCondition, moment
from edge_agent.config import AgentConfig
from edge_agent.delivery import Slots
from edge_agent.labels import WAITING, RememberedWindows, doubted
from edge_agent.learner import HeadLearner
from edge_agent.remote import read_kept
from edge_agent.startup import restore_learner
from edge_agent.status_file import device_status, read_status_file
from edge_agent.store import ACK_RECORD, BACKUP, DATABASE, EARLY, RECOVERY, SQLiteStore
from headway.bundle import read_variant
from headway.durable import read_regular
from headway.errors import StoreError
from headway.fields import Fields, parse_json
from headway.ports import Clock, SystemClock

# a SHA-256; its beginning is enough for people
DIGEST = re.compile("[0-9a-f]{64}")


def read_status(config: AgentConfig, clock: Clock | None = None) -> dict[str, object]:
    """State of the last commit, and how the running agent is. clock: the system's by default.

    Who may not look into its folder gets what a running agent tells in `storage.status_dir`. Raises StoreError when the
    agent has never run here, or that tells nothing.
    """
    try:
        slots = Slots(config.state_dir, config.bundle)
        path = slots.store_dir / DATABASE
        missing = not path.exists()
    except PermissionError as error:
        told = read_status_file(config.status_dir, config.device)
        if told is not None:
            return told
        advice = f"run this with sudo; members of group headway see a running agent's status in {config.status_dir}"
        raise StoreError(f"you may not look into {config.state_dir}: {error.strerror}; {advice}") from error
    if missing:
        raise _nothing(path, "does not exist", "the agent has not run with this configuration yet")
    if not path.stat().st_size:
        raise _nothing(path, "is empty", "the agent has not finished its first start yet")
    store = SQLiteStore(path, read_only=True)
    variant = read_variant(slots.bundle)
    learner = HeadLearner(variant, config.learner)
    sync = restore_learner(store, learner)
    if sync is None:
        raise _nothing(path, "is empty", "the agent has not finished its first start yet")
    (rows, size), saved = store.outbox_size(), store.load()
    windows = RememberedWindows(config.learner.horizon_rows)
    windows.restore(store.windows() if learner.doubts else [])
    store.close()
    condition = _condition(config) if is_running(config) else None
    known = device_status(config, learner, sync, condition, clock or SystemClock())
    return known | {
        "doubted_labels": doubts_in_words(doubted(learner.doubts, learner.classes, windows)),
        "waiting_labels": sum(name.startswith(WAITING) for name in saved),
        "early_labels": sum(name.startswith(EARLY) for name in saved),
        "databases_set_aside": sorted(path.name for path in slots.store_dir.glob(f"{DATABASE}.damaged-*")),
        "last_recovery": _recovery(saved.get(RECOVERY)),
        "outbox": {"rows": rows, "bytes": size},
        "configuration": _configuration(config),
    }


def remembered_windows(config: AgentConfig) -> RememberedWindows | None:
    """Those of a running agent, as of its last commit; None where none runs, or you may not look. Raises StoreError."""
    try:
        path = Slots(config.state_dir, config.bundle).store_dir / DATABASE
        if not is_running(config) or not path.exists():
            return None
    except PermissionError:
        return None
    store = SQLiteStore(path, read_only=True)
    windows = RememberedWindows(config.learner.horizon_rows)
    windows.restore(store.windows())
    store.close()
    return windows


def _nothing(path: Path, lack: str, reason: str) -> StoreError:
    """The database has nothing to show."""
    if any(path.with_name(name).exists() for name in (BACKUP, ACK_RECORD)):
        reason = f"but the agent has run here; at its next start it goes on from {BACKUP}, if that is good"
    return StoreError(f"{path} {lack}; {reason}")


def status_text(status: dict[str, object]) -> str:
    """The same for people, a line each."""
    lines = []
    for name, value in status.items():
        rows = value if isinstance(value, list) and value else [value]
        label = name.replace("_", " ")
        for row in rows:
            if isinstance(row, dict):
                row = ", ".join(f"{key} {_short(item)}" for key, item in row.items() if item != "")
            lines.append(f"{label:<23}{_short(row)}")
            label = ""
    return "\n".join(lines)


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return "-"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}"
    text = str(value)
    return text[:16] if DIGEST.fullmatch(text) else text


def _condition(config: AgentConfig) -> DeviceCondition:
    """What the running agent last wrote about itself."""
    payload = read_regular(config.state_dir / LOCK)
    line = payload[:CONDITION_BYTES].decode("utf-8", errors="replace").strip()
    full = payload[CONDITION_BYTES:].strip()
    return DeviceCondition.decode(line, full) if full else DeviceCondition(line, {})


def _configuration(config: AgentConfig) -> dict[str, object] | None:
    """What the aggregator has set from afar; None for nothing."""
    kept = read_kept(config.state_dir)
    if not kept.version:
        return None
    return {
        "version": kept.version,
        "from_afar": dict(kept.taken),
        "refused": dict(kept.refused),
        "on_trial": not kept.confirmed,
    }


def _recovery(saved: bytes | None) -> dict[str, object] | None:
    """When and why the agent last went on from its backup, or anew."""
    if saved is None:
        return None
    fields = Fields(parse_json(saved, "saved recovery", StoreError), "saved recovery", StoreError)
    wall_s = fields.number("wall_s")
    return {"at": moment(0.0, 0.0, wall_s), "problem": fields.text("problem", length_max=1 << 16)}


def is_running(config: AgentConfig) -> bool:
    """True while a process holds the state folder's lock."""
    try:
        descriptor = os.open(config.state_dir / LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
