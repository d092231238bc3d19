"""Bundles rolled out to the fleet while everything is killed: begun, paused, rolled back, and the last one finished."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aggregator.operations import Operator, act_on_rollout, begin_rollout, rollout_devices, rollout_view, shelve
from aggregator.rollouts import TAKES, Act, State, plan_of
from aggregator.store.rows import ROLLOUTS
from headway.bundle import read_variant
from headway.errors import RemoteError
from headway.wire import Reported
from tests.crash.branch import Branch
from tests.crash.shortfall import Shortfall
from tests.crash.site import CLOCK, Site

PLAN = {
    "max_at_once": 2,
    "failures_share_max": 0.0,
    "latency_ratio_max": 0.0,
    "stages": [
        {"share": 0.4, "soak_s": 0.0, "windows_min": 16, "devices_min": 2},
        {"share": 1.0, "soak_s": 0.0, "windows_min": 16, "devices_min": 2},
    ],
}
RELEASES_MAX = 6
# what an operator does to one that is under way, of a hundred
ACTS = {Act.PAUSE: 40, Act.APPROVE: 25, Act.ROLL_BACK: 35}
END_WITHIN_S, FEED_INTERVAL_S = 180.0, 0.5
# that nobody has confirmed yet
ON_THE_WAY = frozenset({"waiting", "ordered", "trying", "untried", "sent", "returning"})


@dataclass
class Rolling:
    """The rollouts of one site. bundle: the first release of what is rolled out, in the same feature space: what
    devices learn can be compared with what they would have learned without any of this."""

    site: Site
    bundle: Path
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    release: int = 1

    def act(self, devices: Sequence[str]) -> bool:
        """Begin one, or do something to the one that is under way; False where there is nothing to do.

        devices: of the fleet.
        """
        state = self._state()
        if state is None or state in (State.DONE, State.ROLLED_BACK):
            return self.release < RELEASES_MAX and self._begin(devices)
        drawn = self.chance.choices(list(ACTS), list(ACTS.values()))[0]
        wanted = Act.RESUME if state is State.PAUSED else drawn
        if wanted not in TAKES[state] or (wanted is Act.ROLL_BACK and self.done[State.ROLLED_BACK]):
            return False
        with self.site.store() as store:
            act_on_rollout(Operator(store, "crash", time.time()), self._name, wanted, "at random")
        self.done[State.ROLLED_BACK if wanted is Act.ROLL_BACK else str(wanted)] += 1
        return True

    def settle(self, devices: Sequence[str], feed: Callable[[], None]) -> None:
        """Let the last rollout reach everybody; one that was rolled back is followed by another. Raises Shortfall.

        feed: hands out labels, without which nothing is decided.
        """
        deadline_s = time.monotonic() + END_WITHIN_S
        while (state := self._state()) is not State.DONE:
            if state is State.HALTED:
                raise Shortfall(f"a rollout that nobody halted: {self._told()}")
            if state is State.PAUSED:
                self.act(devices)
            elif state in (None, State.ROLLED_BACK):
                self._begin(devices)
            feed()
            if time.monotonic() > deadline_s:
                raise Shortfall(f"the rollout does not end: {self._told()}")
            self.site.pause(FEED_INTERVAL_S)

    def problems(self, branches: Sequence[Branch], devices: Sequence[str]) -> list[str]:
        """Where what a disk holds, what its device confirmed and what the store says are not one."""
        found = []
        for branch in branches:
            runs, confirmed = branch.bundle()
            if (runs, confirmed) != (self.release, True):
                on_trial = "" if confirmed else " on trial"
                found.append(f"{branch.name} runs release {runs}{on_trial}, the fleet {self.release}")
        with self.site.store() as store:
            late = [one for one in rollout_devices(store, self._name) if one.state in ON_THE_WAY]
            found += [f"{one.device} is {one.state} in {self._name}, which is done" for one in late]
            for row in store.devices():
                said = _release(row.reported)
                if row.device in devices and said != self.release:
                    found.append(f"{row.device} has confirmed release {said}, the store says {self.release}")
        return found

    @property
    def _name(self) -> str:
        return f"release-{self.release}"

    def _begin(self, devices: Sequence[str]) -> bool:
        with self.site.store() as store:
            known = {row.device for row in store.devices() if row.reported}
        if not known >= set(devices):
            return False
        later = self.bundle.with_name(f"release-{self.release + 1}.hwb")
        number = self.release + 1
        replace(read_variant(self.bundle), release=number, version=f"{number}.0.0").write(later)
        row = shelve(later, self.site.state_dir, None, CLOCK.wall_s())
        with self.site.store() as store:
            begin_rollout(Operator(store, "crash", time.time()), f"release-{number}", plan_of(PLAN), row)
        self.release = number
        self.done["begun"] += 1
        return True

    def _state(self) -> State | None:
        """Of the newest, None before the first."""
        with self.site.store() as store:
            row = store.rows(ROLLOUTS).get(self._name)
        return None if row is None else State(row.state)

    def _told(self) -> str:
        with self.site.store() as store:
            view, devices = rollout_view(store, self._name), rollout_devices(store, self._name)
        told = ", ".join(f"{one.device} {one.state} {one.problem}".strip() for one in devices)
        return f"{view.rollout} is {view.state}, stage {view.stage}, {view.phase}: {view.why}; {told}"


def _release(reported: bytes) -> int:
    try:
        return Reported.decode(reported).release if reported else 0
    except RemoteError:
        return 0
