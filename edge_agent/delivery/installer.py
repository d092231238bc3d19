"""Installs a bundle that comes over the network: every decision from the request to the end of the trial.

    desired -> ask for a range -> write it -> ... -> hash -> self-test -> switch, restart -> trial -> confirmed
                    ^____________|                   |          |   |                |
                                                  refused  refused tried beside   rolled back
                                                                    what serves (edge_agent/trial)

No network and no clock of its own: messages and times go in, requests and events come out. What must survive a power
cut is in the slots (slots.py); everything here can be rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_agent.delivery.ports import DeliveryEvent, Examined, SelfTest, Trials
from edge_agent.delivery.slots import Slots
from edge_agent.delivery_settings import DeliverySettings
from headway.errors import DataError
from headway.fields import JsonValue
from headway.wire import CHUNK_BYTES_MAX, ROLL_BACK, SWITCH, TRIAL, Desired, FileRange, RangeRequest, read_desired

ATTEMPTS_MAX = 3
DISK_PAUSE_S = 600.0


class Installer:
    """One device's delivery under way, if any. `restart` becomes true when the bundle to run has changed.

    running: release and feature space of the bundle that runs. sha256: of its file.
    counted: the agent's boot number and the last spool file it has consumed.
    start_test: begins the self-test of a bundle file, given the lowest release that is acceptable. held: whether
    something else is on trial, so that no bundle may begin one.
    trials: tries bundles beside the one that serves; None does not.
    """

    def __init__(
        self,
        slots: Slots,
        settings: DeliverySettings,
        running: tuple[int, str],
        sha256: str,
        counted: Callable[[], tuple[int, int]],
        start_test: Callable[[Path, int], SelfTest],
        now_s: float,
        *,
        trials: Trials | None = None,
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._slots, self._settings, self._trials, self._held = slots, settings, trials, held
        self._release, self._space = running
        self._sha256, self._counted, self._start_test = sha256, counted, start_test
        self._wanted: Desired | None = None
        self._offset = self._attempts = 0
        self._asked_at_s: float | None = None
        self._began_s = self._quiet_until_s = now_s
        self._test: SelfTest | None = None
        self._tried_since_s: float | None = None
        self._events: list[DeliveryEvent] = []
        self._refusal = ""
        self._later: bytes | None = None
        self._stopped = self.restart = False
        self._resume()

    @property
    def on_trial(self) -> bool:
        """Whether the bundle that runs would go if the device failed now."""
        return not self._slots.pointer.confirmed

    @property
    def state(self) -> str:
        """Where the delivery stands, for people."""
        if not self._slots.pointer.confirmed:
            return f"release {self._release} on trial"
        if self._wanted is None:
            return self._refusal
        if self._test is not None:
            return f"release {self._wanted.release}: self-test"
        if self._tried_since_s is not None:
            return f"release {self._wanted.release}: tried beside release {self._release}"
        return f"release {self._wanted.release}: {self._offset} of {self._wanted.size} bytes"

    def desired(self, payload: bytes) -> None:
        """The bundle that the operator wants here, or that none is any more. Raises RemoteError when malformed."""
        desired = read_desired(payload)
        if desired is not None and desired.mode != ROLL_BACK and self._same_file(desired):
            self._mean(desired)
            return
        if desired is None or (self._wanted is not None and desired != self._wanted):
            self._give_up()
        if desired is not None and (desired.mode == ROLL_BACK or (desired.mode == TRIAL and self._trials is None)):
            self._go_back(desired)
            return
        if not self._slots.pointer.confirmed:
            self._later = payload
            return
        if desired is None or desired.sha256 == self._sha256:
            return
        problem = self._problem_with(desired)
        if problem:
            if desired.mode == TRIAL and self._trials is not None:
                self._trials.refuse(desired.sha256, problem)
            if problem != self._refusal:
                self._note("delivery-refused", desired, problem=problem)
            self._refusal = problem
            return
        self._slots.begin(desired)
        self._wanted, self._offset, self._attempts, self._refusal = desired, 0, 0, ""
        self._note("delivery-started", desired, size=desired.size)

    def roll_back(self, command_id: str, release: int | None) -> int:
        """Back to the bundle before, because a command says so, once for each command; the release that ran.

        release: that must run now; None: whichever does. Raises DataError where there is nothing to go back to.
        """
        before = self.rolled_back_by(command_id)
        if before is not None:
            return before
        if release not in (None, self._release):
            raise DataError(f"release {self._release} runs here, not {release}")
        problem = self._slots.go_back_by_command(command_id, self._release, *self._counted())
        if problem:
            raise DataError(f"release {self._release} cannot be rolled back: {problem}")
        self.restart = True
        return self._release

    def rolled_back_by(self, command_id: str) -> int | None:
        """The release from which a command led back, also before a power cut; None where it has not."""
        return self._slots.rolled_back_by(command_id)

    def received(self, payload: bytes, now_s: float) -> None:
        """A range of the file. Raises RemoteError on a damaged one, StoreError when it cannot be written."""
        found, wanted = FileRange.decode(payload), self._wanted
        if wanted is None or found.sha256 != wanted.sha256 or found.offset != self._offset or self._test is not None:
            return  # of another delivery, or a repetition
        self._asked_at_s, self._quiet_until_s = None, now_s + found.pace_s
        if found.size != wanted.size:
            self._refuse(f"the aggregator's file has {found.size} bytes, it announced {wanted.size}")
        elif found.data:
            self._slots.append(self._offset, found.data)
            self._offset += len(found.data)
            self._advance()

    def turn(self, now_s: float, connected: bool) -> bytes | None:
        """Whatever time brings; returns a request to publish, if one is due. Nothing any more after `stop`."""
        if self._stopped:
            return None
        self._end_trial(now_s)
        self._end_test(now_s)
        self._watch_trial(now_s)
        if connected:
            self._report_roll_back()
        wanted = self._wanted
        if wanted is None or self._test is not None or self._tried_since_s is not None or now_s < self._quiet_until_s:
            return None
        if self._offset >= wanted.size:
            self._advance()  # once more, after the disk took nothing
            return None
        if not connected:
            return None
        if self._asked_at_s is not None and now_s - self._asked_at_s < self._settings.answer_timeout_s:
            return None
        self._asked_at_s = now_s
        length = min(CHUNK_BYTES_MAX, wanted.size - self._offset)
        return RangeRequest(wanted.sha256, self._offset, length).encode()

    def pause(self, now_s: float) -> None:
        """The disk took nothing; try again later."""
        self._asked_at_s, self._quiet_until_s = None, now_s + DISK_PAUSE_S

    def reconnected(self) -> None:
        """A fresh connection: a request on its way may be lost."""
        self._asked_at_s = None

    def take_events(self) -> list[DeliveryEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self, now_s: float) -> None:
        """The process ends in good order. What it has begun is given up, and goes on after the next start."""
        self._stopped = True
        if self._test is not None or self._tried_since_s is not None:
            self._slots.uncount_test()
        if self._test is not None:
            self._test.stop()
        if self._trials is not None:
            self._trials.stop()
        if not self.restart:
            self._slots.stopped_well(now_s - self._began_s)

    def _same_file(self, desired: Desired) -> bool:
        return self._wanted is not None and replace(self._wanted, mode=desired.mode) == desired

    def _mean(self, desired: Desired) -> None:
        """What is here, or on its way, is meant so from now on: tried first, say, and then switched to."""
        if desired == self._wanted or (desired.mode == TRIAL and self._trials is None):
            return
        self._slots.mean(desired)
        self._wanted = desired
        if desired.mode == SWITCH and self._tried_since_s is not None:
            self._end_tries()
            self._advance()

    def _go_back(self, desired: Desired) -> None:
        """The bundle that runs is not to run any more. Another that does is left alone, and nothing is only tried."""
        if desired.mode != ROLL_BACK or desired.sha256 != self._sha256 or self.restart:
            return
        problem = self._slots.go_back(f"release {desired.release} was rolled back on request", *self._counted())
        if problem:
            self._refusal = f"release {desired.release} cannot be rolled back: {problem}"
            self._note("delivery-refused", desired, problem=problem)
        else:
            self.restart = True

    def _resume(self) -> None:
        """Go on after a start: from the last range that is whole, or from the self-test."""
        if not self._slots.pointer.confirmed:
            return
        wanted, offset, lost = self._slots.left()
        if lost:
            self._events.append(DeliveryEvent("delivery-lost", {"problem": lost}))
        if self._trials is not None and (wanted is None or wanted.mode != TRIAL):
            self._trials.end()
        if wanted is None:
            return
        problem = self._problem_with(wanted)
        if wanted.sha256 == self._sha256 or problem:
            self._slots.clear()
            return
        self._offset, self._wanted = offset, wanted
        if self._slots.complete:
            self._offset = wanted.size
            self._advance()

    def _advance(self) -> None:
        """The next step, once all bytes are there."""
        wanted = self._wanted
        if wanted is None or self._offset < wanted.size:
            return
        if self._slots.whole(wanted):
            self._note("delivery-verified", wanted)
            if self._slots.count_test() >= self._settings.starts_max:
                what = "trials" if wanted.mode == TRIAL else "self-tests"
                self._refuse(f"{self._settings.starts_max} {what} ended with the machine")
                return
            floor = max(self._release, self._slots.pointer.floor) + 1
            self._test = self._start_test(self._slots.idle / "bundle.hwb", floor)
            return
        self._attempts += 1
        self._offset = 0
        if self._attempts >= ATTEMPTS_MAX:
            self._refuse(f"the file did not match its sha256 {ATTEMPTS_MAX} times")

    def _end_test(self, now_s: float) -> None:
        tested = None if self._test is None or self._held() else self._test.poll()
        if tested is None or self._wanted is None:
            return
        self._test = None
        limit_ms = self._settings.latency_ms_max
        if not tested.problem and limit_ms and tested.latency_ms > limit_ms:
            tested = Examined(f"a window takes {tested.latency_ms:.1f} ms, latency_ms_max is {limit_ms:g}")
        if tested.problem:
            self._refuse(tested.problem)
            return
        self._note("delivery-tested", self._wanted, runtime=tested.runtime, latency_ms=round(tested.latency_ms, 3))
        if self._wanted.mode == TRIAL and self._trials is not None:
            self._trials.begin(self._wanted.sha256, self._slots.idle / "bundle.hwb")
            self._tried_since_s = now_s
            self._note("trial-started", self._wanted)
            return
        self._slots.switch(tested.space, self._space, *self._counted())
        self._note("delivery-switched", self._wanted)
        self._wanted, self.restart = None, True

    def _watch_trial(self, now_s: float) -> None:
        """A bundle that is tried beside the one that serves fails by itself, or does no harm for long enough."""
        if self._tried_since_s is None or self._trials is None:
            return
        problem = self._trials.poll()
        if problem:
            self._refuse(problem)
        elif now_s - self._tried_since_s >= self._settings.trial_s and self._slots.pointer.tests:
            self._slots.uncount_tests()

    def _end_tries(self) -> None:
        """The trial beside is over."""
        self._tried_since_s = None
        if self._trials is not None:
            self._trials.end()

    def _end_trial(self, now_s: float) -> None:
        pointer = self._slots.pointer
        if self.restart:
            return  # this process ran another bundle than the one that is active now
        if pointer.confirmed or pointer.healthy_s + now_s - self._began_s < self._settings.trial_s:
            return
        self._slots.confirm(self._release)
        self._events.append(DeliveryEvent("delivery-confirmed", {"release": self._release}))
        if self._later is not None:
            later, self._later = self._later, None
            self.desired(later)

    def _report_roll_back(self) -> None:
        """The trial failed in another process than this, which perhaps had no connection."""
        reason = self._slots.pointer.rolled_back
        if reason:
            self._refusal = f"rolled back to release {self._release}: {reason}"
            self._events.append(DeliveryEvent("delivery-rolled-back", {"release": self._release, "problem": reason}))
            self._slots.roll_back_reported()

    def _problem_with(self, desired: Desired) -> str:
        floor = max(self._release, self._slots.pointer.floor)
        if desired.sha256 in self._slots.pointer.refused:
            return f"release {desired.release} failed here before: {self._slots.pointer.refused[desired.sha256]}"
        if desired.release <= floor:
            return f"release {desired.release} is not newer than {floor}; convert with a higher --release"
        if desired.size > self._settings.bundle_bytes_max:
            return f"bundle has {desired.size} bytes, bundle_bytes_max is {self._settings.bundle_bytes_max}"
        return ""

    def _refuse(self, problem: str) -> None:
        wanted = self._wanted
        if wanted is not None:
            self._slots.refuse(wanted, problem)
            if wanted.mode == TRIAL and self._trials is not None:
                self._trials.refuse(wanted.sha256, problem)
            self._refusal = f"release {wanted.release} failed here before: {problem[:300]}"
            self._note("delivery-refused", wanted, problem=problem[:300])
        self._wanted = self._asked_at_s = self._tried_since_s = None

    def _give_up(self) -> None:
        """The desired bundle was withdrawn or replaced."""
        if self._test is not None:
            self._test.stop()
            self._slots.uncount_test()
        if self._wanted is not None:
            self._slots.clear()
        self._end_tries()
        self._wanted, self._test, self._asked_at_s, self._refusal = None, None, None, ""

    def _note(self, name: str, desired: Desired, **detail: JsonValue) -> None:
        told = {"bundle": desired.name, "version": desired.version, "release": desired.release, **detail}
        self._events.append(DeliveryEvent(name, told))
