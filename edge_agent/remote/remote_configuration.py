"""Takes settings from afar: decides at once, starts again with them, and takes them back if the device fails so.

    configuration -> decide -> written -> start again -> trial -> confirmed
                       |                      |             |
                    refused                taken back    taken back

Settings and a bundle are never on trial together: whatever fails then has one cause. What must survive a power cut is
in one file (kept.py), so that with or without a network the device starts with what was decided last.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edge_agent.config import AgentConfig, read_config
from edge_agent.remote.effective import Decision, decide, in_force
from edge_agent.remote.kept import Kept, read_kept, write_kept
from headway.errors import StoreError
from headway.wire import Configuration, ConfigurationState, SettingValue

log = logging.getLogger("edge-agent")

STARTS_MAX = 3
DISK_PAUSE_S = 60.0
NOT_ALLOWED = "this device takes no settings from afar: allowed = false in [remote] of its own file"


class RemoteConfiguration:
    """Of one device, over all the starts of one process.

    file: the device's own configuration. Raises ConfigError for one that cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._own = self._configuration({})
        self._kept = Kept()
        self._began_s: float | None = None
        self._waiting: Configuration | None = None
        self._retry_at_s = float("-inf")
        self._problem = ""
        self._notes: list[tuple[str, str]] = []
        self.restart = False

    def begin(self) -> AgentConfig:
        """The configuration of the next start, which counts as one that came to nothing until it ends well.

        Values that the device failed with are taken back. Raises ConfigError for a file of the device's own that cannot
        be used.
        """
        self._own = self._configuration({})
        self.restart, self._began_s, self._waiting = False, None, None
        if not self._own.remote.allowed:
            self._kept = Kept()
            return self._own
        self._kept = self._read()
        if not self._kept.confirmed:
            if self._kept.starts >= STARTS_MAX:
                self._take_back(f"{STARTS_MAX} starts with it came to nothing")
            else:
                self._write(replace(self._kept, starts=self._kept.starts + 1))
        decision = self._decide(self._kept.taken, {})
        for key, reason in decision.refused.items():
            log.warning("%s from afar is not in force: %s", key, reason)
        if decision.refused:  # the device's own file has changed since
            refused = {**self._kept.refused, **decision.refused}
            self._write(replace(self._kept, taken=decision.taken, refused=refused))
        return decision.config

    def failed(self, reason: str) -> bool:
        """A start with these settings did not come about. True when they were on trial: begin again, without them."""
        if self._kept.confirmed:
            return False
        self._take_back(reason)
        return True

    def began(self, now_s: float) -> None:
        """The device works with these settings. now_s: monotonic clock."""
        self._began_s = now_s

    def stopped(self, now_s: float) -> None:
        """The process ends in good order: that start is no failure."""
        if not self._kept.confirmed and not self.restart and self._began_s is not None:
            well_s = self._kept.well_s + now_s - self._began_s
            self._write(replace(self._kept, starts=max(0, self._kept.starts - 1), well_s=well_s))

    @property
    def on_trial(self) -> bool:
        """Whether they would be taken back if the device failed now."""
        return not self._kept.confirmed

    @property
    def version(self) -> int:
        return self._kept.version

    def receive(self, payload: bytes) -> None:
        """What the aggregator wants now; an empty message: nothing. `turn` decides. Raises RemoteError."""
        self._waiting = Configuration.decode(payload) if payload else Configuration(0)
        self._retry_at_s = float("-inf")

    def turn(self, now_s: float, bundle_on_trial: bool) -> bool:
        """Decide what waits, end the trial; True when something is to be told. now_s: monotonic clock."""
        told = self._end_trial(now_s)
        wanted = self._waiting
        if wanted is None or now_s < self._retry_at_s or self.restart:
            return told
        problem = "a bundle is on trial" if bundle_on_trial else "settings are on trial" if self.on_trial else ""
        if (wanted.version, wanted.values) == (self._kept.version, self._kept.wanted):
            self._waiting, problem = None, ""
        elif not self._own.remote.allowed:
            self._waiting = None
            refused = dict.fromkeys(wanted.values, NOT_ALLOWED)
            self._kept = Kept(wanted.version, wanted.values, {}, refused)  # of this run alone: nothing is to be kept
        elif not problem:
            problem = self._take(wanted, now_s)
        changed, self._problem = problem != self._problem, problem
        # about to start again with other values, and then it tells of them
        return not self.restart and (told or changed or self._waiting is None)

    def state(self, config: AgentConfig) -> bytes:
        """The message that tells what holds. config: of this start."""
        kept = self._kept
        name = "waiting" if self._problem else "trial" if self.on_trial else "applied"
        remote = tuple(sorted(kept.taken))
        return ConfigurationState(
            kept.version, name, in_force(config), remote, kept.refused, self._problem[:300]
        ).encode()

    def take_notes(self) -> list[tuple[str, str]]:
        """Events by name and in words, since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _take(self, wanted: Configuration, now_s: float) -> str:
        """Decide and write it; returns what is in the way. Starts again when another configuration comes of it."""
        decision = self._decide(wanted.values, self._kept.taken)
        running = self._decide(self._kept.taken, {})
        changed = decision.config != running.config
        kept = Kept(
            wanted.version, wanted.values, decision.taken, decision.refused, self._kept.taken, confirmed=not changed
        )
        try:
            self._save(kept)
        except StoreError as error:
            self._retry_at_s = now_s + DISK_PAUSE_S
            return str(error)
        self._kept, self._waiting, self.restart = kept, None, changed
        if decision.refused:
            words = "; ".join(f"{key} {reason}" for key, reason in decision.refused.items())
            self._notes.append(("configuration-refused", f"version {wanted.version}: {words}"))
        log.info("configuration %d from afar: %d settings, %d refused", wanted.version, len(decision.taken),
                 len(decision.refused))  # fmt: skip
        return ""

    def _end_trial(self, now_s: float) -> bool:
        kept = self._kept
        if kept.confirmed or self._began_s is None or self.restart:
            return False  # a process that is about to start again has not run with what is on trial
        if kept.well_s + now_s - self._began_s < self._own.remote.trial_s:
            return False
        return self._write(replace(kept, confirmed=True, starts=0, well_s=0.0, before={}))

    def _take_back(self, reason: str) -> None:
        kept = self._kept
        reason = " ".join(reason.split())[:200]
        changed = {key for key in {**kept.taken, **kept.before} if kept.taken.get(key) != kept.before.get(key)}
        refused = {**kept.refused, **dict.fromkeys(sorted(changed), f"the device failed with it: {reason}")}
        log.warning("settings from afar are taken back: %s", reason)
        self._notes.append(("configuration-taken-back", f"version {kept.version}: {reason}"))
        self._write(Kept(kept.version, kept.wanted, kept.before, refused))

    def _decide(self, wanted: Mapping[str, SettingValue], before: Mapping[str, SettingValue]) -> Decision:
        return decide(self._configuration, wanted, before)

    def _read(self) -> Kept:
        try:
            return self._load()
        except StoreError as error:
            # the aggregator's newest message comes with the next connection, and is decided anew
            problem = f"{error}; the device starts with its own settings, until the aggregator's come again"
            log.warning("%s", problem)
            self._notes.append(("configuration-lost", problem))
            return Kept()

    def _write(self, kept: Kept) -> bool:
        """Starts and trials are counted where the disk allows it: without it the device works on."""
        self._kept = kept
        try:
            self._save(kept)
        except StoreError as error:
            log.warning("%s", error)
        return True

    def _configuration(self, values: Mapping[str, SettingValue]) -> AgentConfig:
        """The device's own file, with these values over it. Raises ConfigError."""
        return read_config(self._file, values)

    def _load(self) -> Kept:
        """What is on the disk. Raises StoreError for a file that is damaged."""
        return read_kept(self._own.state_dir)

    def _save(self, kept: Kept) -> None:
        """One durable write. Raises StoreError."""
        write_kept(self._own.state_dir, kept)
