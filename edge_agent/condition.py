"""Says how a device is: what holds now and since when, what is wrong, and what was refused.

    standing  disk, link and learning are each in one state at a time, since a moment
    problem   something is wrong; it is over at a known moment, or when it has not happened again for an hour
    refusals  input that could not be used: how often, the last one, and when

Moments are of the machine's monotonic clock and become dates when they are shown: a device without a clock of its own
starts in 1970, and what began then has its right date as soon as the clock is set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from headway.errors import StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.printable import printable

DISK, LINK, LEARNING = "disk", "link", "learning"
REJECTED = "input-rejected"
# a problem that only shows when it happens is over when it has not happened for so long
QUIET_S = 3600.0
# of one kind; the others are counted, and told together when the minute is over
TOLD_A_MINUTE = 10
MINUTE_S = 60.0
TEXT_CHARACTERS_MAX = 200
# the lock of a state folder; in it the line comes first, the rest is the encoded condition, all padded with spaces
LOCK = "agent.lock"
CONDITION_BYTES, CONDITION_FILE_BYTES = 400, 4096
PROBLEMS_MAX = 16
# no device runs this program before 2024: a clock that says so was not set yet
CLOCK_SET_S = 1_704_067_200.0


@dataclass(frozen=True, slots=True)
class Standing:
    """State of the disk, the link or learning since `since_s`, monotonic seconds. detail: more about it, in words."""

    state: str
    since_s: float
    detail: str = ""
    is_problem: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Something is wrong since `since_s`; it was seen `count` times, the last time at `last_s` (monotonic seconds)."""

    kind: str
    text: str
    since_s: float
    last_s: float
    count: int = 1
    ends_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Refusals:
    """Input that could not be used since the program started: how often, and the last one (monotonic seconds)."""

    count: int = 0
    reason: str = ""
    last_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """How fast a device works: windows taken in and answers given over the last minute, labels over the last day (or as
    they would be in a whole one). latency: of the newest `answers` files, seconds from drop to answer."""

    windows_per_s: float = 0.0
    answers_per_s: float = 0.0
    labels_per_day: float = 0.0
    answers: int = 0
    latency_p50_s: float = 0.0
    latency_p99_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceCondition:
    """Everything that holds at one moment. line: the same in one line."""

    line: str
    standings: dict[str, Standing]
    problems: tuple[Problem, ...] = ()
    refusals: Refusals = Refusals()
    figures: Figures = Figures()

    def encode(self, bytes_max: int) -> bytes:
        """For ``edge-agent status``, beside the running agent; the oldest problems are left out beyond `bytes_max`."""
        standings: dict[str, JsonValue] = {
            name: {
                "state": held.state,
                "since_s": held.since_s,
                "detail": _cut(held.detail),
                "is_problem": held.is_problem,
            }
            for name, held in self.standings.items()
        }
        problems: list[JsonValue] = [
            {
                "kind": problem.kind,
                "text": _cut(problem.text),
                "since_s": problem.since_s,
                "last_s": problem.last_s,
                "count": problem.count,
            }
            for problem in self.problems
        ]
        refusals: dict[str, JsonValue] = {
            "count": self.refusals.count,
            "reason": _cut(self.refusals.reason),
            "last_s": self.refusals.last_s,
        }
        while True:
            encoded = canonical_json(
                {
                    "standings": standings,
                    "problems": problems,
                    "refusals": refusals,
                    "figures": asdict(self.figures),
                }
            )
            if len(encoded) <= bytes_max or not problems:
                return encoded
            problems = problems[1:]

    @classmethod
    def decode(cls, line: str, payload: bytes) -> DeviceCondition:
        """Inverse of `encode`. Raises StoreError."""
        where = "the agent's condition"
        fields = Fields(parse_json(payload, where, StoreError), where, StoreError)
        found = fields.table("standings")
        standings = {}
        for name in (DISK, LINK, LEARNING):
            row = found.table(name)
            standings[name] = Standing(
                row.text("state"), row.number("since_s"), row.text("detail"), row.boolean("is_problem")
            )
        problems = []
        for row in fields.tables("problems"):
            moments = row.number("since_s"), row.number("last_s")
            problems.append(Problem(row.text("kind"), row.text("text"), *moments, row.integer("count")))
        row = fields.table("refusals")
        refusals = Refusals(row.integer("count"), row.text("reason"), row.number("last_s"))
        figures = Figures()
        if fields.has("figures"):  # earlier agents did not measure
            row = fields.table("figures")
            rates = row.number("windows_per_s"), row.number("answers_per_s"), row.number("labels_per_day")
            times = row.number("latency_p50_s"), row.number("latency_p99_s")
            figures = Figures(*rates, row.integer("answers"), *times)
        return cls(line, standings, tuple(problems), refusals, figures)

    def is_news_after(self, other: DeviceCondition) -> bool:
        """Whether more than a count or a moment has changed since."""
        return self.line != other.line or self._states != other._states

    @property
    def open_problems(self) -> tuple[object, ...]:
        """What tells one set of problems from another: kinds and beginnings, and what the disk says."""
        standing = ((name, held.since_s) for name, held in self.standings.items() if held.is_problem)
        return (*standing, self.standings[DISK].detail, *((each.kind, each.since_s) for each in self.problems))

    @property
    def _states(self) -> tuple[object, ...]:
        states = tuple((name, held.state, held.since_s) for name, held in self.standings.items())
        return (*states, *((problem.kind, problem.since_s) for problem in self.problems))

    def words(self, now_s: float, wall_s: float) -> str:
        """What is wrong, each with its kind and since when; empty when nothing is."""
        said = [
            f"{name} {held.state} since {moment(held.since_s, now_s, wall_s)}: {held.detail}"
            for name, held in self.standings.items()
            if held.is_problem
        ]
        said += [f"{each.kind} since {moment(each.since_s, now_s, wall_s)}: {each.text}" for each in self.problems]
        return "; ".join(said)


class ConditionWatch:
    """Keeps the condition of one device.

    clock_s: monotonic seconds. ended: told each problem that is over: its kind, its words, how many seconds it lasted.
    """

    def __init__(
        self, clock_s: Callable[[], float], ended: Callable[[str, str, float], None], *, networked: bool
    ) -> None:
        self._clock_s, self._ended = clock_s, ended
        now_s = clock_s()
        self._standings = {
            DISK: Standing("good", now_s),
            LINK: Standing("connecting" if networked else "not configured", now_s),
            LEARNING: Standing("on", now_s),
        }
        self._problems: dict[str, Problem] = {}
        self._refusals = Refusals()
        self._minutes: dict[str, tuple[float, int]] = {}

    def stand(self, name: str, state: str, detail: str = "", *, is_problem: bool = False) -> bool:
        """Disk, link or learning is in this state; True when it was in another before.

        An outage keeps its beginning while its reason changes. A problem that is over is told.
        """
        held = self._standings[name]
        if held.state == state:
            worse = held.is_problem or is_problem
            self._standings[name] = replace(held, detail=detail, is_problem=worse)
            return False
        now_s = self._clock_s()
        self._standings[name] = Standing(state, now_s, detail, is_problem)
        if held.is_problem and not is_problem:
            self._ended(name, held.detail, now_s - held.since_s)
        return True

    def happened(self, kind: str, text: str, *, quiet_s: float = QUIET_S) -> bool:
        """A problem has shown itself; True when that is to be told, False when it is one of very many.

        quiet_s: it is over when so many seconds have passed without it; infinity: when `over` says so.
        """
        now_s = self._clock_s()
        found = self._problems.pop(kind, None) or Problem(kind, text, now_s, now_s, 0)
        self._problems[kind] = replace(found, text=text, last_s=now_s, count=found.count + 1, ends_s=now_s + quiet_s)
        while len(self._problems) > PROBLEMS_MAX:
            del self._problems[next(iter(self._problems))]
        if kind == REJECTED:
            self._refusals = Refusals(self._refusals.count + 1, text, now_s)
        began_s, told = self._minutes.get(kind, (now_s, 0))
        self._minutes[kind] = began_s, told + 1
        return told < TOLD_A_MINUTE

    def over(self, kind: str, after_s: float = 0.0) -> None:
        """The problem is over, if there was one, unless it shows itself again within `after_s` seconds."""
        found = self._problems.get(kind)
        if found is not None:
            self._problems[kind] = replace(found, ends_s=self._clock_s() + after_s)

    def turn(self) -> list[tuple[str, str]]:
        """End what is over. Returns, by kind, a line about what was too frequent to be told one by one."""
        now_s = self._clock_s()
        for problem in [problem for problem in self._problems.values() if problem.ends_s <= now_s]:
            del self._problems[problem.kind]
            self._ended(problem.kind, problem.text, problem.last_s - problem.since_s)
        frequent = []
        for kind, (began_s, told) in [*self._minutes.items()]:
            if now_s - began_s < MINUTE_S:
                continue
            del self._minutes[kind]
            if told > TOLD_A_MINUTE:
                frequent.append((kind, f"{told - TOLD_A_MINUTE} times more in {now_s - began_s:.0f} s"))
        return frequent

    def now(self, line: str, figures: Figures = Figures()) -> DeviceCondition:
        """Everything as it is now. line: the same in one line."""
        return DeviceCondition(line, dict(self._standings), tuple(self._problems.values()), self._refusals, figures)


def _cut(text: str) -> str:
    return printable(text)[:TEXT_CHARACTERS_MAX]


def moment(then_s: float, now_s: float, wall_s: float) -> str:
    """A moment of the monotonic clock as a date in UTC; how long ago, while the machine's clock is not set.

    now_s, wall_s: the same instant on both clocks.
    """
    ago_s = max(0.0, now_s - then_s)
    if wall_s < CLOCK_SET_S:
        return f"{ago_s:.0f} s ago (the clock is not set)"
    return datetime.fromtimestamp(wall_s - ago_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
