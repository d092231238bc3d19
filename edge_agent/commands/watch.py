"""``edge-agent watch``: how a device does, live in a terminal, with small charts; nothing but text and ANSI.

Each look reads what the last commit left, as ``edge-agent status`` does, and asks nothing of the agent.
"""

from __future__ import annotations

import math
import shutil
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from edge_agent.commands.status import read_status
from edge_agent.condition import DISK, LEARNING, LINK, moment
from edge_agent.config import AgentConfig
from headway.errors import StoreError
from headway.ports import Clock
from headway.printable import printable

BARS, PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
LOOKS_MAX = 400
WIDTH_MIN, LABEL_CHARACTERS = 24, 10
BOLD, RED, GREEN, YELLOW, GREY, END = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[90m", "\x1b[0m"
# the whole picture at once, so that nothing flickers: to the top, each line cleared behind its end, the rest below
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a device. at_s: monotonic seconds; score: of recent labels, NaN while there is none."""

    at_s: float
    files: int
    labels: int
    score: float


@dataclass(frozen=True, slots=True)
class Picture:
    """How to draw. width, height: of the terminal, in characters; bars: eight heights of a bar and none."""

    width: int
    height: int
    colour: bool
    bars: str = BARS

    def line(self, label: str, text: str, colour: str = "") -> str:
        """One line, cut to the width; whatever `text` holds, the terminal only shows it."""
        room = max(1, max(self.width, WIDTH_MIN) - LABEL_CHARACTERS - 1)
        text = printable(text)
        if len(text) > room:
            text = text[: room - 1] + ("…" if self.bars == BARS else "~")
        if self.colour and colour:
            text = f"{colour}{text}{END}"
        return f"{label:<{LABEL_CHARACTERS}} {text}"

    def chart(self, values: Sequence[float], low: float, high: float) -> str:
        """The newest values that fit, each a bar between low and high; a dot where one is not known."""
        room = max(4, max(self.width, WIDTH_MIN) - LABEL_CHARACTERS - 1 - 10)
        drawn = []
        for value in values[-room:]:
            if math.isnan(value):
                drawn.append("·" if self.bars == BARS else "?")
                continue
            part = (value - low) / (high - low) if high > low else 0.0
            drawn.append(self.bars[round(min(1.0, max(0.0, part)) * (len(self.bars) - 1))])
        return "".join(drawn)


def watch_device(
    config: AgentConfig,
    clock: Clock,
    out: TextIO,
    interval_s: float,
    count: int = 0,
    *,
    live: bool,
    colour: bool,
    pause: threading.Event | None = None,
) -> None:
    """Draw until interrupted, or `count` times. live: over the last picture, on a screen of its own.

    pause: what is waited for between two looks; set, it ends them. Raises StoreError where no agent has run.
    """
    pause, looks, done = pause or threading.Event(), deque[Look](maxlen=LOOKS_MAX), 0
    bars = BARS if (out.encoding or "").lower().replace("-", "") == "utf8" else PLAIN_BARS
    status = read_status(config, clock)  # before the screen changes: an error belongs on the other one
    if live:
        out.write(ENTER)
    try:
        while True:
            looks.append(look_of(status, clock.monotonic_s()))
            size = shutil.get_terminal_size()
            lines = draw(status, looks, Picture(size.columns, size.lines, colour, bars), clock)
            if live:
                lines = lines[: max(1, size.lines - 1)]
                out.write(HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in lines) + CLEAR_BELOW)
            else:
                out.write("\n".join(lines) + "\n")
            out.flush()
            done += 1
            if done == count or pause.wait(interval_s):
                return
            status = _again(config, clock, status)
    finally:
        if live:
            out.write(LEAVE)
            out.flush()


def _again(config: AgentConfig, clock: Clock, before: dict[str, object]) -> dict[str, object]:
    """A database that is just being replaced cannot be read for a moment; the picture says so and stays."""
    try:
        return read_status(config, clock)
    except StoreError as error:
        return {**before, "condition": f"cannot be read now: {error}"}


def look_of(status: dict[str, object], at_s: float) -> Look:
    """What is charted of a status. at_s: monotonic seconds."""
    recent = status["recent"]
    named = recent if isinstance(recent, dict) else {}
    score = next((float(value) for name, value in named.items() if "accuracy" in name or name == "r2"), math.nan)
    return Look(at_s, _count(status["files_consumed"]), _count(status["labels"]), score)


def draw(status: dict[str, object], looks: Sequence[Look], picture: Picture, clock: Clock) -> list[str]:
    """The lines of one picture."""
    running = bool(status["running"])
    title = f"{status['device']} of {status['fleet']}, {moment(0.0, 0.0, clock.wall_s())}"
    lines = [picture.line("device", title, BOLD)]
    lines.append(picture.line("agent", str(status["condition"]), GREEN if running else RED))
    bundle = status["bundle"]
    if isinstance(bundle, dict):
        lines.append(picture.line("bundle", f"{bundle['name']} {bundle['version']}, {status['serving']} head serves"))
    for name in (LINK, LEARNING, DISK):
        held = status[name]
        if isinstance(held, dict):
            words = ", ".join(word for word in (held["state"], f"since {held['since']}", held["detail"]) if word)
            good = held["state"] in ("connected", "good", "on", "not configured")
            lines.append(picture.line(name, words, GREEN if good else YELLOW))
    refused = status["rejected"]
    if isinstance(refused, dict):
        words = f"{refused['files']} files" + (f", the last: {refused['reason']}" if "reason" in refused else "")
        lines.append(picture.line("rejected", words, YELLOW if refused["files"] else ""))
    lines.append(picture.line("labels", f"{status['labels']} learned, {status['waiting_labels']} wait"))
    lines += _charts(looks, picture)
    problems = status["problems"]
    for problem in problems if isinstance(problems, list) else ():
        words = f"{problem['kind']} since {problem['since']}: {problem['text']}"
        lines.append(picture.line("problem", words, RED))
    return lines


def _charts(looks: Sequence[Look], picture: Picture) -> list[str]:
    scores = [look.score for look in looks]
    pairs = [*zip(looks, [*looks][1:], strict=False)]
    rates = [max(0.0, (new.files - old.files) / max(1e-3, new.at_s - old.at_s)) for old, new in pairs]
    highest = max(rates, default=0.0)
    now = "-" if math.isnan(scores[-1]) else f"{scores[-1]:.3f}"
    drawn = picture.chart(scores, 0.0, 1.0)
    rate = f"{rates[-1]:.1f}" if rates else "-"
    return [
        picture.line("recent", f"{now:>7}  {drawn}", GREEN),
        picture.line("files/s", f"{rate:>7}  {picture.chart(rates, 0.0, highest)}", GREEN),
    ]


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
