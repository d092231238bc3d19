"""Tells people how the device is: in the log, as events to the fleet, and in `problem` of what it reports.

What begins and what is over are each told once; what happens very often is counted and told once a minute. Events of a
time without a connection follow with the next one, the newest few of them.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable

from edge_agent.condition import DISK, LEARNING, LINK, QUIET_S, ConditionWatch, DeviceCondition, Figures
from edge_agent.seal_checks import FloodError
from headway.errors import RemoteError
from headway.fields import JsonValue
from headway.ports import Clock, Response
from headway.wire import Event

log = logging.getLogger("edge-agent")

UNSENT_EVENTS_MAX = 64
EVENT_TEXT_CHARACTERS_MAX = 500
# a broker that refuses a subscription does so at once
REFUSAL_WAIT_S = 60.0
SESSION_TAKEN_OVER = 142
# events that say that what another one began is over
ENDS = {"source-back": "source-failed"}


class Announcer:
    """Of one device. publish: sends an event, None without a connection. networked: whether there is a broker."""

    def __init__(self, clock: Clock, publish: Callable[[bytes], int | None], *, networked: bool) -> None:
        self._clock, self._publish, self._networked = clock, publish, networked
        self._watch = ConditionWatch(clock.monotonic_s, self._ended, networked=networked)
        self._unsent: deque[tuple[float, str, dict[str, JsonValue]]] = deque(maxlen=UNSENT_EVENTS_MAX)
        self._last_outage = self._last_disk = self._last_refusal = ""
        self._refusals: set[str] = set()
        self.messages_refused = 0
        self._last_problems: tuple[object, ...] = ()

    def condition(self, line: str, figures: Figures) -> DeviceCondition:
        """How the device is. line: the same in one line."""
        return self._watch.now(line, figures)

    @property
    def problem(self) -> str:
        """What is wrong now, and since when; empty when nothing is."""
        return self._watch.now("").words(self._clock.monotonic_s(), self._clock.wall_s())

    def take_news(self) -> bool:
        """Whether something is wrong, or is over, since the last call."""
        before, self._last_problems = self._last_problems, self._watch.now("").open_problems
        return before != self._last_problems

    def connected(self) -> None:
        """The broker has accepted the device."""
        self._last_outage, self._refusals = "", set()
        self._watch.stand(LINK, "connected")
        self._watch.over("subscribe-refused", after_s=REFUSAL_WAIT_S)
        unsent, now_s, wall_s = [*self._unsent], self._clock.monotonic_s(), self._clock.wall_s()
        self._unsent.clear()
        for then_s, name, detail in unsent:
            # the clock may have been set since
            self._publish(Event(name, detail, max(0.0, wall_s - (now_s - then_s))).encode())

    def offline(self, reason: str, response: Response, code: int) -> None:
        """The connection is gone or could not be made."""
        self._watch.stand(LINK, "offline", reason, is_problem=response is not Response.RETRY)
        if code == SESSION_TAKEN_OVER:
            self.note("session-taken-over", f"offline: {reason}")
        elif reason != self._last_outage:
            # each attempt to reconnect fails with the same words; once is enough
            log.warning("offline: %s", reason)
        self._last_outage = reason

    def publish_refused(self, problem: str) -> None:
        """The broker did not take a message. Told once per connection: to tell is to send a message."""
        self._refused("publish-refused", problem, QUIET_S)

    def subscription_refused(self, problem: str) -> None:
        """Nothing of this topic will arrive on this connection."""
        self._refused("subscribe-refused", problem, math.inf)

    def reports_refused(self, text: str) -> bool:
        """With every ack. text: why the aggregator refuses this device's reports, empty while it takes them. Told once
        when that begins, and once when it is over; True when it was."""
        if bool(text) == bool(self._last_refusal):
            return False
        self._last_refusal = text
        if text:
            self.note("reports-refused", text, math.inf)
        else:
            self._watch.over("reports-refused")
            accepted = "the aggregator takes this device's reports again"
            self._tell("reports-accepted", accepted, accepted)
        return True

    def disk_and_learning(self, disk: str, waiting: str, paused: bool) -> None:
        """Once a turn. disk: why it takes no commits, empty when it does; waiting: which labels wait, and why; paused:
        whether they have to."""
        self._watch.stand(DISK, "degraded" if disk else "good", disk, is_problem=bool(disk))
        self._watch.stand(LEARNING, "paused" if paused else "on", waiting)
        for kind, text in self._watch.turn():
            self._tell(kind.partition(" ")[0], text, f"{kind}: {text}")
        if disk != self._last_disk:
            self._last_disk = disk
            name, text = ("degraded", disk) if disk else ("recovered", "the disk takes commits again")
            self._tell(name, text, f"{name}: {text}")

    def message_refused(self, name: str, error: RemoteError) -> None:
        """What came under a topic cannot be used. Told the first, second, fourth ... time: a flood makes no flood."""
        self.messages_refused += 1
        if isinstance(error, FloodError):
            self.note("orders-flooded", str(error))
        elif not self.messages_refused & (self.messages_refused - 1):
            self.note("message-refused", f"{name[:200]}: {error} (refused so far: {self.messages_refused})")

    def note(self, name: str, problem: str, quiet_s: float = QUIET_S) -> None:
        """A problem has shown itself; work goes on. It is over when `quiet_s` have passed without it, or by its `ENDS`.

        name: of the event; behind a space what it is about, where several may be at once.
        """
        event, _, about = name.partition(" ")
        if event in ENDS:
            self._watch.over(f"{ENDS[event]} {about}")
            self._tell(event, problem, problem)
        elif self._watch.happened(name, problem, quiet_s=math.inf if event in ENDS.values() else quiet_s):
            self._tell(event, problem, problem)

    def _tell(self, name: str, text: str, line: str) -> None:
        log.warning("%s", line)
        self._event(name, {"problem": text[:EVENT_TEXT_CHARACTERS_MAX]})

    def _refused(self, name: str, problem: str, quiet_s: float) -> None:
        if problem in self._refusals:
            self._watch.happened(name, problem, quiet_s=quiet_s)
            return
        self._refusals.add(problem)
        self.note(name, problem, quiet_s)

    def _ended(self, kind: str, text: str, lasted_s: float) -> None:
        if kind == DISK:
            return  # which is event `recovered`
        log.info("over after %.0f s: %s: %s", lasted_s, kind, text)
        detail: dict[str, JsonValue] = {"kind": kind, "problem": text[:EVENT_TEXT_CHARACTERS_MAX]}
        self._event("problem-cleared", detail | {"lasted_s": round(lasted_s)})

    def _event(self, name: str, detail: dict[str, JsonValue]) -> None:
        sent = self._publish(Event(name, detail, self._clock.wall_s()).encode())
        if sent is None and self._networked:
            self._unsent.append((self._clock.monotonic_s(), name, detail))
