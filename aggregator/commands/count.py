"""How many of a number of devices are done: a bar on a terminal, elsewhere a line for each change."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from headway.ports import Clock

if TYPE_CHECKING:
    from rich.progress import Progress


class Count:
    """Call it with the number that are done, as often as you look."""

    def __init__(self, stream: TextIO, clock: Clock, total: int, what: str) -> None:
        self._stream, self._total, self._what = stream, total, what
        self._done = -1
        self._bar = _bar(stream, clock, what) if stream.isatty() else None

    def __enter__(self) -> Count:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
        elif done != self._done:
            print(f"{done} of {self._total} {self._what}", file=self._stream, flush=True)
        self._done = done


def _bar(stream: TextIO, clock: Clock, what: str) -> Progress | None:
    """None on a terminal that cannot move its cursor. rich is loaded here: services show none, and start sooner."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream)
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeElapsedColumn())
    return Progress(*columns, console=console, get_time=clock.monotonic_s)
