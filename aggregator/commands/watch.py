"""Implements `edge-fleet watch`: a fleet on the terminal, as it changes; plain lines where that is all it can show."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aggregator.commands.events import plain_event
from aggregator.commands.moments import age, moment
from aggregator.reach import Fleet
from aggregator.registry import DeviceView, Overview, as_plain
from aggregator.store import EventRow, RegistryRow
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.printable import printable

# a look at a large fleet takes a while, in which the service cannot write: at most this share of the time
SHARE_OF_TIME = 0.05
QUIT = frozenset("qQ\x03\x04")
# lines around the two tables
FRAME_LINES = 13
PLAIN_LINES = 10
# columns from which on there is room for more than needed
WIDE = 100


def watch(fleet: Fleet, clock: Clock, every_s: float, once: bool, in_json: bool) -> None:
    """``edge-fleet watch``. Ends by q, Ctrl-C, or after one look: once, in_json, or where nobody watches."""
    if in_json:
        print(readable_json(_plain(_look(fleet, clock)[0])))
        return
    console = Console()
    if once or not console.is_terminal:
        print(_lines(_look(fleet, clock)[0], clock.wall_s()))
        return
    with contextlib.suppress(KeyboardInterrupt):
        if console.is_dumb_terminal or not sys.stdin.isatty():
            _write_again_and_again(fleet, clock, every_s)
        else:
            _show(fleet, clock, every_s, console)


def _look(fleet: Fleet, clock: Clock) -> tuple[Overview, float]:
    """The fleet now, and how long looking took, in seconds."""
    began_s = clock.monotonic_s()
    found = fleet.overview()
    return found, clock.monotonic_s() - began_s


def _write_again_and_again(fleet: Fleet, clock: Clock, every_s: float) -> None:
    while True:
        found, took_s = _look(fleet, clock)
        print(f"{_lines(found, clock.wall_s())}\n", flush=True)
        time.sleep(max(every_s, took_s / SHARE_OF_TIME))


def _show(fleet: Fleet, clock: Clock, every_s: float, console: Console) -> None:
    found, took_s = _look(fleet, clock)
    screen = Live(console=console, screen=True, auto_refresh=False, transient=True)
    with _Keys.of_terminal() as keys, screen:
        next_s = clock.monotonic_s() + max(every_s, took_s / SHARE_OF_TIME)
        while True:
            screen.update(picture(found, clock.wall_s(), console.width, console.height), refresh=True)
            if keys.pressed(max(0.0, next_s - clock.monotonic_s())) & QUIT:
                return
            if clock.monotonic_s() >= next_s:
                found, took_s = _look(fleet, clock)
                next_s = clock.monotonic_s() + max(every_s, took_s / SHARE_OF_TIME)


def picture(found: Overview, now_s: float, columns: int, lines: int) -> RenderableType:
    """What fills a screen of so many columns and lines. now_s: wall clock."""
    room = max(2, lines - FRAME_LINES)
    events_shown = min(len(found.events), max(room // 2, room - max(1, len(found.worst))))
    devices_shown = max(1, room - max(1, events_shown))
    title = Table.grid(expand=True)
    title.add_column()
    title.add_column(justify="right")
    title.add_row(Text("the fleet", style="bold"), Text(f"{moment(now_s)} UTC, q to leave", style="dim"))
    return Group(
        title,
        _numbers(found),
        _worst(found.worst[:devices_shown], now_s, columns),
        Text(),
        _events(found.events[:events_shown], columns),
    )


def _numbers(found: Overview) -> Table:
    table = Table(box=box.SQUARE, expand=True, show_header=True, header_style="dim")
    shown = _five(found)
    for title, _, _ in shown:
        table.add_column(title, justify="center", ratio=1, no_wrap=True)
    table.add_row(*(Text(value, style=style) for _, value, style in shown))
    return table


def _five(found: Overview) -> list[tuple[str, str, str]]:
    """Title, text and style of each number."""
    served = "-" if found.served is None or found.frozen is None else (
        f"{100 * found.served:.1f} % ({100 * (found.served - found.frozen):+.1f})"
    )  # fmt: skip
    return [
        ("online", f"{found.online:,}/{found.devices:,}", "bold"),
        ("labels", f"{found.labels:,}", "bold"),
        ("right (gain)", served, "bold"),
        ("below frozen", f"{found.below:,}", "bold yellow" if found.below else "bold green"),
        ("troubled", f"{found.troubled:,}", "bold red" if found.troubled else "bold green"),
    ]


def _table(title: str, columns: int, *heads: str) -> Table:
    """A table whose last column takes the room that is left, and is cut where there is none."""
    table = Table(
        box=box.SIMPLE_HEAD, expand=True, show_edge=False, title=title, title_justify="left", title_style="bold",
        width=columns,
    )  # fmt: skip
    for head in heads[:-1]:
        right: JustifyMethod = "right" if head in ("gain", "labels") else "left"
        table.add_column(head, justify=right, no_wrap=True, overflow="ellipsis", max_width=24 if columns < WIDE else 40)
    table.add_column(heads[-1], no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _worst(rows: tuple[RegistryRow, ...], now_s: float, columns: int) -> RenderableType:
    if not rows:
        return Text("no device is below its frozen head, or in trouble", style="green")
    table = _table("devices that need somebody", columns, "device", "gain", "labels", "seen", "problem")
    for row in rows:
        table.add_row(*(Text(cell) for cell in _worst_cells(row, now_s)))
    return table


def _worst_cells(row: RegistryRow, now_s: float) -> tuple[str, ...]:
    gain = "-" if row.accuracy_gain is None else f"{100 * row.accuracy_gain:+.1f}"
    return tuple(
        map(printable, (row.device, gain, f"{row.labels:,}", age(now_s - row.last_seen_s), row.problem or "-"))
    )


def _events(rows: tuple[EventRow, ...], columns: int) -> RenderableType:
    if not rows:
        return Text("no event yet", style="dim")
    table = _table("events", columns, "at", "device", "event", "detail")
    for row in rows:
        table.add_row(*(Text(cell) for cell in _event_cells(row)))
    return table


def _event_cells(row: EventRow) -> tuple[str, ...]:
    return tuple(map(printable, (moment(row.received_s)[5:], row.device, row.name, row.detail)))


def _lines(found: Overview, now_s: float) -> str:
    """The same as text, for a terminal that can only write."""
    lines = [moment(now_s) + " UTC: " + ", ".join(f"{title} {value}" for title, value, _ in _five(found))]
    lines += ["  " + "  ".join(_worst_cells(row, now_s)) for row in found.worst[:PLAIN_LINES]]
    lines += ["  " + "  ".join(_event_cells(row)) for row in found.events[:PLAIN_LINES]]
    return "\n".join(lines)


def _plain(found: Overview) -> JsonValue:
    return {
        "devices": found.devices, "online": found.online, "labels": found.labels, "served_accuracy": found.served,
        "frozen_accuracy": found.frozen, "below_frozen": found.below, "troubled": found.troubled,
        "worst": [as_plain(DeviceView(row)) for row in found.worst], "events": [*map(plain_event, found.events)],
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys as they are pressed. wake: readable when the size of the terminal has changed."""

    wake: int

    @classmethod
    @contextlib.contextmanager
    def of_terminal(cls) -> Iterator[_Keys]:
        """Single keys instead of lines, until the end; then the terminal is as it was."""
        before = termios.tcgetattr(sys.stdin)
        readable, writable = os.pipe()
        os.set_blocking(writable, False)

        def resized(*_: object) -> None:
            with contextlib.suppress(BlockingIOError):  # it is full: there is enough to wake
                os.write(writable, b"\0")

        handler = signal.signal(signal.SIGWINCH, resized)
        try:
            tty.setcbreak(sys.stdin)
            yield cls(readable)
        finally:
            signal.signal(signal.SIGWINCH, handler)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            os.close(readable)
            os.close(writable)

    def pressed(self, timeout_s: float) -> set[str]:
        """The keys since the last call; waits until there is one, or the terminal has another size."""
        ready, _, _ = select.select([sys.stdin, self.wake], [], [], timeout_s)
        if self.wake in ready:
            os.read(self.wake, 4096)
        if sys.stdin not in ready:
            return set()
        typed = os.read(sys.stdin.fileno(), 1024)
        # the end of the input: nobody is there any more
        return set(typed.decode(errors="replace")) if typed else {"q"}
