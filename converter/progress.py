"""Shows the progress of a conversion, a line for each step; on a terminal the running step counts its seconds."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from headway.ports import Clock


class Steps:
    """Call it with the name of each step as it begins; leaving the context ends the last one."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        console = Console(file=stream)
        columns = (SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description}"), _Seconds())
        live = console.is_terminal and not console.is_dumb_terminal
        self._live = Progress(*columns, console=console, get_time=clock.monotonic_s) if live else None
        self._step, self._start_s = "", 0.0

    def __call__(self, step: str) -> None:
        self._end()
        self._step, self._start_s = step, self._clock.monotonic_s()
        if self._live is not None:
            self._live.add_task(step, total=1)

    def __enter__(self) -> Steps:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end()
        elif self._live is None and self._step:
            self._write()
        if self._live is not None:
            self._live.stop()

    def _end(self) -> None:
        """What was begun is done."""
        if self._live is not None:
            for task in self._live.tasks:
                self._live.update(task.id, completed=1)
        elif self._step:
            self._write()
        self._step = ""

    def _write(self) -> None:
        self._stream.write(f"  {self._step} ... {self._clock.monotonic_s() - self._start_s:.1f} s\n")
        self._stream.flush()


class _Seconds(ProgressColumn):
    """How long a step runs or took."""

    def render(self, task: Task) -> Text:
        seconds = task.finished_time if task.finished else task.elapsed
        return Text(f"{seconds or 0.0:.1f} s", style="dim")
