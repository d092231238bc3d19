"""The commands that only look: events, refusals, bundles, a live view, and what shells complete."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from aggregator.cli import main
from aggregator.commands.watch import picture
from aggregator.registry import overview
from aggregator.store import DeviceRow, EventRow, RefusalRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.printable import is_printable
from tests.edge_agent.variants import variant
from tests.system.conftest import BIN

NOW_S = 1.8e9
HOSTILE = "\x1b[2J\u202eevil"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        for number in range(30):
            name = f"pump-{number:02}"
            store.put_device(DeviceRow(name, NOW_S, NOW_S))
            right = 40 - number
            store.registry.put([RegistryRow(
                name, NOW_S, NOW_S, "online" if number % 2 else "offline", labels=50, scored=50, served_right=right,
                frozen_right=30, served_accuracy=right / 50, frozen_accuracy=0.6, accuracy_gain=(right - 30) / 50,
                health="problem" if number == 3 else "good", problem="no frame\x1b[2J" if number == 3 else "",
                bundle="walk", bundle_version="1", release=1,
            )])  # fmt: skip
        for number in range(5):
            store.add_event(EventRow(f"pump-0{number}", "drift", '{"detector":"adwin"}', NOW_S + number), 100)
        store.add_event(EventRow("pump-00", HOSTILE, "no json", NOW_S + 9), 100)
        store.count_refusal(RefusalRow("pump-01", "limit", 3, HOSTILE, NOW_S))
        store.count_refusal(RefusalRow("", "address", 1, "topic", NOW_S + 1))
    store.close()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([*map(str, words)]) == 0
    return capsys.readouterr().out


def test_events_newest_first_of_one_device_or_kind(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--state-dir", state_dir)
    lines = said(capsys, "events", *place).splitlines()
    assert len(lines) == 7
    assert all(map(is_printable, lines))
    assert lines[1].startswith("2027-01-15 08:00:09  pump-00  \\x1b[2J\\u202eevil")
    (row,) = json.loads(said(capsys, "events", "--device", "pump-03", "--json", *place))
    assert row == {"received_s": NOW_S + 3, "device": "pump-03", "event": "drift", "detail": {"detector": "adwin"}}
    assert len(json.loads(said(capsys, "events", "--name", "drift", "--limit", "2", "--json", *place))) == 2
    assert said(capsys, "events", "--name", "none", *place) == "no event is like that\n"


def test_refusals_the_newest_first(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "refusals", "--state-dir", state_dir).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["-", "address", "1"], ["pump-01", "limit", "3"]]
    assert is_printable(lines[2])


def test_bundles_are_counted_where_they_run_and_are_ordered(
    state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--state-dir", state_dir)
    replace(variant(), release=4, version="4.0.0").write(tmp_path / "new.hwb")
    said(capsys, "deliver", tmp_path / "new.hwb", "--devices", "pump-01", "pump-02", *place)
    (state_dir / "bundles" / "broken.hwb").write_bytes(b"x")
    new, old, broken = json.loads(said(capsys, "bundles", "--json", *place))
    assert (new["bundle"], new["release"], new["ordered"], new["running"]) == ("walk", 4, 2, 0)
    assert len(new["sha256"]) == 64
    assert (old["release"], old["ordered"], old["running"], old["sha256"]) == (1, 0, 30, None)
    assert broken["problem"]
    assert len(said(capsys, "bundles", *place).splitlines()) == 4


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40), (60, 12)])
def test_the_screen_is_full_and_no_line_is_too_long(state_dir: Path, columns: int, lines: int) -> None:
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        found = overview(store, NOW_S)
    store.close()
    assert (found.devices, found.online, found.labels, found.below, found.troubled) == (30, 15, 1500, 19, 1)
    assert found.served == pytest.approx(sum(range(11, 41)) / 1500)
    assert [row.device for row in found.worst[:2]] == ["pump-29", "pump-28"]
    console = Console(width=columns, height=lines, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(picture(found, NOW_S, columns, lines))
    shown = console.export_text().splitlines()
    console.file.close()
    assert max(map(len, shown)) <= columns
    assert len(shown) <= max(lines, 16)
    assert all(map(is_printable, shown))
    assert "pump-29" in "\n".join(shown)
    assert "no json" in "\n".join(shown)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, state_dir: Path, kind: str) -> None:
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(self.ours)
        command = [str(BIN / "edge-fleet"), "watch", "--every-s", "0.2", "--state-dir", str(state_dir)]
        environment = {**os.environ, "TERM": kind, "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.seen = b""

    def until(self, text: bytes) -> None:
        deadline_s = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline_s, self.seen
            if select.select([self.ours], [], [], 1.0)[0]:
                self.seen += os.read(self.ours, 65536)

    def end(self) -> int:
        code = self.process.wait(30)
        assert termios.tcgetattr(self.ours) == self.before
        os.close(self.ours)
        return code


@pytest.mark.parametrize(("kind", "how"), [("xterm", "q"), ("xterm", "SIGINT"), ("dumb", "SIGINT")])
def test_it_is_left_by_a_key_and_the_terminal_is_as_before(state_dir: Path, kind: str, how: str) -> None:
    terminal = Terminal(state_dir, kind)
    terminal.until(b"pump-29")
    terminal.until(b"below frozen")
    assert (b"\x1b[?1049h" in terminal.seen) == (kind == "xterm"), "only a full terminal is painted on"
    if how == "q":
        terminal.process.send_signal(signal.SIGWINCH)
        os.write(terminal.ours, b"xq")
    else:
        terminal.process.send_signal(signal.SIGINT)
    if kind == "xterm":
        terminal.until(b"\x1b[?1049l")
    assert terminal.end() == 0


def completions(script: str, *words: str) -> list[str]:
    """What bash offers for the last word, once it has read a script."""
    typed = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; "$1" "{words[0]}" "{words[-1]}"; '
    ask += 'printf "%s\\n" "${COMPREPLY[@]}"'
    name = "_" + words[0].replace("-", "_") + ("_completion" if words[0] == "edge-fleet" else "")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}", "bash", name], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("program", ["edge-fleet", "edge-agent"])
def test_bash_completes_what_the_script_teaches_it(program: str) -> None:
    script = subprocess.run(
        [str(BIN / program), "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    if program == "edge-fleet":
        assert completions(script, program, "dev") == ["device", "devices"]
        assert "--limit" in completions(script, program, "devices", "--l")
        assert completions(script, program, "rollout", "ro") == ["roll-back"]
    else:
        assert completions(script, program, "re") == ["renew", "replay"]
        assert completions(script, program, "status", "--j") == ["--json"]
        assert "--debug" not in completions(script, program, "status", "--")
    for shell in ("zsh", "fish"):
        made = subprocess.run([str(BIN / program), "completion", shell], capture_output=True, text=True, check=True)
        assert program in made.stdout
    refused = subprocess.run([str(BIN / program), "completion", "csh"], capture_output=True, text=True)
    assert refused.returncode == 2
