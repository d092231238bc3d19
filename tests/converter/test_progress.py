"""Steps with their times, on a terminal and in a file."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from converter.progress import Steps


class Clock:
    """Stands still unless told to move."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 0.0


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `seen` is what it was given, without the control sequences."""

    def isatty(self) -> bool:
        return True

    def seen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture(autouse=True)
def _a_capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_gets_one_line_for_each_step() -> None:
    clock, stream = Clock(), io.StringIO()
    with Steps(stream, clock) as steps:
        steps("loading")
        clock.now_s = 1.25
        steps("writing")
        clock.now_s = 4.0
    assert stream.getvalue() == "  loading ... 1.2 s\n  writing ... 2.8 s\n"


def test_a_terminal_sees_the_seconds_pass_and_what_is_done() -> None:
    clock, terminal = Clock(), Terminal()
    with Steps(terminal, clock) as steps:
        steps("loading")
        clock.now_s = 1.25
        steps("writing")
        clock.now_s = 4.0
        assert "✓ loading 1.2 s" not in terminal.seen().splitlines()[0]
    last = [line.rstrip() for line in terminal.seen().splitlines()[-2:]]
    assert last == ["✓ loading 1.2 s", "✓ writing 2.8 s"]


def test_a_step_that_fails_is_not_ticked_off() -> None:
    clock, terminal = Clock(), Terminal()
    with contextlib.suppress(ValueError), Steps(terminal, clock) as steps:
        steps("loading")
        raise ValueError("boom")
    assert "loading" in terminal.seen()
    assert "✓" not in terminal.seen()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with Steps(terminal, Clock()) as steps:
        steps("loading")
    assert terminal.getvalue() == "  loading ... 0.0 s\n"


def test_a_failing_step_still_ends_its_line() -> None:
    stream = io.StringIO()
    with contextlib.suppress(ValueError), Steps(stream, Clock()) as steps:
        steps("loading")
        raise ValueError("boom")
    assert stream.getvalue() == "  loading ... 0.0 s\n"
