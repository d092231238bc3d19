"""What goes to stderr: priorities under the journal, no flood, and one line for what nobody foresaw."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.errors import StoreError
from headway.logs import (
    JournalFormatter,
    JsonFormatter,
    PrintableFormatter,
    RateLimitedHandler,
    is_journal,
    print_error,
    print_unexpected,
)
from tests.device import ManualClock

LOGS = """
import logging, sys
from headway.logs import log_to_stderr, print_error
log_to_stderr("debug", "%(levelname)s %(message)s")
log = logging.getLogger("x")
log.debug("a"); log.info("b"); log.warning("c"); log.error("d")
try:
    raise ValueError("two\\nlines")
except ValueError:
    log.exception("e")
print_error("f")
"""


def written(command: list[str], environment: dict[str, str], path: Path) -> list[str]:
    """Lines that a process leaves on stderr, which is a file here."""
    with path.open("w") as stderr:
        found = os.fstat(stderr.fileno())
        environment = {name: value.format(f"{found.st_dev}:{found.st_ino}") for name, value in environment.items()}
        subprocess.run(command, stderr=stderr, check=True, env={**os.environ, **environment})
    return path.read_text().splitlines()


def test_under_the_journal_every_line_has_its_priority(tmp_path: Path) -> None:
    lines = written([sys.executable, "-c", LOGS], {"JOURNAL_STREAM": "{}"}, tmp_path / "log")
    assert lines[:4] == ["<7>DEBUG a", "<6>INFO b", "<4>WARNING c", "<3>ERROR d"]
    assert lines[4] == "<3>ERROR e"
    assert len(lines) > 7
    assert all(line.startswith("<3>") for line in lines[4:])
    assert lines[-1] == "<3>error: f"


@pytest.mark.parametrize("stream", ["8:1", ""])
def test_elsewhere_there_are_none(tmp_path: Path, stream: str) -> None:
    lines = written([sys.executable, "-c", LOGS], {"JOURNAL_STREAM": stream}, tmp_path / "log")
    assert lines[:4] == ["DEBUG a", "INFO b", "WARNING c", "ERROR d"]
    assert lines[-1] == "error: f"


def test_a_stream_without_a_file_is_no_journal() -> None:
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "8:1"})


def test_a_structured_line_is_one_object_whatever_the_message_holds() -> None:
    try:
        raise ValueError("broken\n")
    except ValueError:
        record = logging.LogRecord("edge-agent", logging.WARNING, "", 0, "%s is\n\x1b[2J\u2028", ("x",), sys.exc_info())
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable(), "no second line, and nothing that a terminal acts on"
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("warning", "edge-agent", "x is\n\x1b[2J\u2028")
    assert "ValueError: broken" in told["traceback"]
    assert JournalFormatter(JsonFormatter()).format(record) == f"<4>{line}"


def test_the_line_with_which_a_program_leaves_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(JournalFormatter(JsonFormatter()))
    logging.getLogger().addHandler(handler)
    try:
        print_error("no bundle")
    finally:
        logging.getLogger().removeHandler(handler)
    line = stream.getvalue()
    assert json.loads(line.removeprefix("<3>"))["message"] == "no bundle"
    assert line.startswith("<3>")
    assert "error: no bundle" not in capsys.readouterr().err


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(clock: ManualClock, stream: io.StringIO) -> logging.Logger:
    handler = RateLimitedHandler(stream, clock.monotonic_s)
    handler.setFormatter(JournalFormatter(PrintableFormatter("%(message)s")))
    made = logging.Logger("limited")
    made.addHandler(handler)
    return made


def flood(log: logging.Logger, count: int) -> None:
    for _ in range(count):
        log.warning("refused %s", "by the broker")


def test_the_same_line_is_written_a_few_times_a_minute_and_then_counted(
    log: logging.Logger, clock: ManualClock, stream: io.StringIO
) -> None:
    flood(log, 133)
    log.info("another line")
    assert stream.getvalue().splitlines() == ["<4>refused by the broker"] * 5 + ["<6>another line"]
    clock.now_s += 60
    flood(log, 1)
    assert stream.getvalue().splitlines()[6:] == [
        "<4>refused by the broker ... 128 times more",
        "<4>refused by the broker",
    ]


def test_what_was_counted_is_told_when_anything_else_is_written_and_at_the_end(
    log: logging.Logger, clock: ManualClock, stream: io.StringIO
) -> None:
    flood(log, 7)
    clock.now_s += 61
    log.info("another line")
    assert stream.getvalue().splitlines()[5:] == ["<4>refused by the broker ... 2 times more", "<6>another line"]
    flood(log, 9)
    log.handlers[0].close()
    assert stream.getvalue().splitlines()[-1] == "<4>refused by the broker ... 4 times more"


def test_a_million_different_lines_take_no_memory(log: logging.Logger, stream: io.StringIO) -> None:
    for number in range(2000):
        log.info("line %d", number)
    assert stream.getvalue().count("\n") == 2000
    handler = log.handlers[0]
    assert isinstance(handler, RateLimitedHandler)
    assert len(handler._lines) <= 256


def agent(monkeypatch: pytest.MonkeyPatch, broken: Callable[..., object]) -> int:
    from edge_agent import cli

    monkeypatch.setattr("edge_agent.config.read_config", broken)
    return cli.main(["status", "agent.toml"])


def fleet(monkeypatch: pytest.MonkeyPatch, broken: Callable[..., object]) -> int:
    pytest.importorskip("sqlalchemy")
    from aggregator import cli
    from aggregator.commands.place import Place

    monkeypatch.setattr(Place, "store", broken)
    return cli.main(["devices", "--state-dir", "none"])


def inspect(monkeypatch: pytest.MonkeyPatch, broken: Callable[..., object]) -> int:
    from converter import cli, inspection

    monkeypatch.setattr(inspection, "inspect_lines", broken)
    return cli.main(["inspect", "model.hwb"])


def verify(monkeypatch: pytest.MonkeyPatch, broken: Callable[..., object]) -> int:
    from converter import cli, commands

    monkeypatch.setattr(commands, "read_variant", broken)
    return cli.main(["verify", "model.hwb"])


def keygen(monkeypatch: pytest.MonkeyPatch, broken: Callable[..., object]) -> int:
    from converter import cli, keys

    monkeypatch.setattr(keys, "generate_key", broken)
    return cli.main(["keygen", "key.pem"])


COMMANDS = [agent, fleet, inspect, verify, keygen]


@pytest.mark.parametrize("run", COMMANDS)
def test_what_nobody_foresaw_is_one_line_with_a_code_of_its_own(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*given: object, **options: object) -> None:
        raise ZeroDivisionError("of\ntwo lines")

    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, broken) == 70
    said = capsys.readouterr().err
    assert said.startswith("error: unexpected error: ZeroDivisionError: of two lines; please report it")
    assert said.count("\n") == 1


@pytest.mark.parametrize("run", COMMANDS)
def test_an_interruption_is_one_line(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, interrupted) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_the_traceback_is_shown_at_log_level_debug(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: object, **options: object) -> None:
        raise ZeroDivisionError("here")

    caplog.set_level(logging.DEBUG)
    assert agent(monkeypatch, broken) == 70
    assert "Traceback" in caplog.text


def test_a_full_disk_is_no_fault_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == StoreError.exit_code
    assert capsys.readouterr().err == (
        "error: cannot write output: No space left on device; free some space, or files where df -i shows none left\n"
    )
