"""Steps with their times, on a terminal and in a file."""

from __future__ import annotations

import contextlib
import io
import threading

import pytest

from converter import progress
from converter.progress import Steps


class Clock:
    """Stands still unless told to move."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 0.0


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and when it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.ticked = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text.startswith("\r") and not text.endswith("\n"):
            self.ticked.set()
        return super().write(text)


def test_a_file_gets_one_line_for_each_step() -> None:
    clock, stream = Clock(), io.StringIO()
    with Steps(stream, clock) as steps:
        steps("loading")
        clock.now_s = 1.25
        steps("writing")
        clock.now_s = 4.0
    assert stream.getvalue() == "  loading ... 1.2 s\n  writing ... 2.8 s\n"


def test_a_terminal_sees_the_seconds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH_S", 0.001)
    clock, terminal = Clock(), Terminal()
    with Steps(terminal, clock) as steps:
        steps("loading")
        assert terminal.ticked.wait(10)
    assert "\r  loading ... 0.0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_a_failing_step_still_ends_its_line() -> None:
    stream = io.StringIO()
    with contextlib.suppress(ValueError), Steps(stream, Clock()) as steps:
        steps("loading")
        raise ValueError("boom")
    assert stream.getvalue() == "  loading ... 0.0 s\n"
