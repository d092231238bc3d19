"""What a running agent tells of itself, in a file for people who may not look into its state folder.

Under systemd with DynamicUser the state folder lies below one that only root may enter. The folder for this file
(`storage.status_dir`) belongs to the group of those who look after the device, and lies in memory: nothing wears out.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from edge_agent.agent import Agent
from edge_agent.condition import DISK, LEARNING, LINK, DeviceCondition, moment
from edge_agent.config import AgentConfig
from edge_agent.learner import HeadLearner
from edge_agent.store import RetryingStore
from edge_agent.sync import SyncState
from headway.errors import StoreError
from headway.fields import parse_json, readable_json
from headway.ports import Clock

log = logging.getLogger("edge-agent")

STATUS_BYTES_MAX = 1 << 20
# a file that is written while it is read is read once more
READS = 5


class StatusFile:
    """One agent's, kept up to date while it runs and gone when it stops; none where the folder cannot take it."""

    def __init__(self, folder: Path, device: str) -> None:
        self._path, self._file = folder / f"{device}.json", -1
        if not folder.is_dir():
            return
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            log.info("no status for others in %s: %s", self._path, error.strerror)
            self._let_go()

    @property
    def wanted(self) -> bool:
        """Whether there is a file to keep up to date."""
        return self._file >= 0

    def write(self, status: Mapping[str, object]) -> None:
        """Tell this from now on. A folder that refuses ends nothing."""
        if self._file < 0:
            return
        payload = readable_json(status).encode()
        try:
            os.pwrite(self._file, payload, 0)
            os.ftruncate(self._file, len(payload))
        except OSError as error:
            log.info("no status for others in %s: %s", self._path, error.strerror)
            self._let_go()

    def close(self) -> None:
        """The agent stops."""
        if self._file >= 0:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                log.info("cannot remove %s: %s", self._path, error.strerror)
            self._let_go()

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def read_status_file(folder: Path, device: str) -> dict[str, object] | None:
    """What the running agent tells; None where none runs, or it tells nothing here. Raises StoreError."""
    path = folder / f"{device}.json"
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not _locked(file):
            return None
        for left in reversed(range(READS)):
            try:
                found = parse_json(os.pread(file, STATUS_BYTES_MAX, 0), str(path), StoreError, STATUS_BYTES_MAX)
            except StoreError:
                if not left:
                    raise
                continue
            if isinstance(found, dict):
                return dict(found)
        raise StoreError(f"{path} is no status of an agent")
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    """Whether the agent that keeps it runs."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def live_status(
    config: AgentConfig, agent: Agent, store: RetryingStore, condition: DeviceCondition, clock: Clock
) -> dict[str, object]:
    """What the running agent knows of itself; of ``edge-agent status`` all but what is read from its folder."""
    known = device_status(config, agent.learner, agent.sync_state, condition, clock)
    waiting = {"waiting_labels": len(agent.labelling.queue), "early_labels": len(agent.labelling.early)}
    try:
        rows, size = store.outbox_size()
    except StoreError:
        return known | waiting  # what is wrong with the disk stands above
    return known | waiting | {"outbox": {"rows": rows, "bytes": size}}


def device_status(
    config: AgentConfig, learner: HeadLearner, sync: SyncState, condition: DeviceCondition | None, clock: Clock
) -> dict[str, object]:
    """What is learned and sent, and how the running agent is; condition: None where none runs."""
    variant = learner.variant
    return {
        "device": config.device,
        "fleet": config.fleet,
        "running": condition is not None,
        **_shown(condition, clock),
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
        "files_consumed": sync.consumed,
        # labels that this epoch leaves out, because older ones may have counted them (docs/protocol.md, 5.6)
        "labels_of_older_epochs": sync.before,
    }


def _shown(condition: DeviceCondition | None, clock: Clock) -> dict[str, object]:
    if condition is None:
        nothing: dict[str, object] = dict.fromkeys((LINK, DISK, LEARNING))
        return {"condition": "stopped", **nothing, "problems": [], "rejected": None, "rates": None, "latency": None}

    def when(then_s: float) -> str:
        return moment(then_s, clock.monotonic_s(), clock.wall_s())

    standings = {
        name: {"state": held.state, "since": when(held.since_s), "detail": held.detail}
        for name, held in condition.standings.items()
    }
    refusals, figures = condition.refusals, condition.figures
    last = {"last": when(refusals.last_s), "reason": refusals.reason} if refusals.count else {}
    return {
        "condition": condition.line,
        **{name: standings.get(name) for name in (LINK, DISK, LEARNING)},
        "problems": [
            {
                "kind": each.kind,
                "since": when(each.since_s),
                "last": when(each.last_s),
                "count": each.count,
                "text": each.text,
            }
            for each in condition.problems
        ],
        # since the agent started
        "rejected": {"files": refusals.count, **last},
        "rates": {
            "windows_per_s": figures.windows_per_s,
            "answers_per_s": figures.answers_per_s,
            "labels_per_day": figures.labels_per_day,
        },
        # seconds from drop to answer, of the newest files
        "latency": {"p50_s": figures.latency_p50_s, "p99_s": figures.latency_p99_s, "answers": figures.answers}
        if figures.answers
        else None,
    }
