"""Commands beside running services, by the entry points of their programs.

A process takes half a second of a core to start, which those that are waited for then lack. What polls calls the entry
point; one test of each such command has it as a process, `by_process`.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aggregator.cli import main as edge_fleet
from edge_agent.cli import main as edge_agent

PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {"edge-fleet": edge_fleet, "edge-agent": edge_agent}


def in_this_process(words: Sequence[str | Path], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command, which may look into `folder` as its working folder, and what it would have been as a process."""
    program, *arguments = map(str, words)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder or Path.cwd()), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = PROGRAMS[program](arguments)
    return subprocess.CompletedProcess([program, *arguments], code, out.getvalue(), err.getvalue())


def by_process(words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """The installed program itself."""
    command = [str(Path(sys.executable).parent / words[0]), *map(str, words[1:])]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def output_of(*words: str | Path, process: bool = False) -> str:
    """What a command that succeeds prints. process: as a process of its own."""
    done = by_process(words) if process else in_this_process(words)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout
