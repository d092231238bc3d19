"""Runs as the first process of a virtual machine (`testbed.virtual`): starts the agent, and feeds it.

What it prints on the serial line is the record of what was promised: "ACKED n" once file n is answered. Before that,
"CLOCK s" and "HELD ranges", the files that the disk has answered or still holds when the machine starts. Words on the
kernel's command line: next=N, the number of the first file; feed=N, how many files (then it stops the agent, prints
STATUS and ends); nosync, the agent's syncs do nothing; tables, run tables.py alone.

Nothing is waited for without end. "ENDED" and "STUCK" say what went wrong and what the agent logged; the machine then
switches itself off.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(path) for path in Path("/opt/headway/lib").glob("python3*/site-packages")]

# places of the virtual machine, where nothing else runs
DATA, LOG = Path("/data"), Path("/tmp/agent.log")
SPOOL, ANSWERS = DATA / "spool", DATA / "predictions"
POWER_OFF = 0x4321FEDC
# for an emulated processor on a busy machine: a start takes up to 25 s of a core, and may get a twentieth of one
ANSWER_S_MAX, STOP_S_MAX, HOLD_S_MAX = 1500.0, 600.0, 1800.0


class Failed(Exception):
    """The agent did not do what was waited for."""


def main() -> None:
    words = Path("/proc/cmdline").read_text().split()
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    if "tables" in words:
        program = ["/usr/bin/python3", "/tables.py", "/data/model.hwb", "/data/windows.npz"]
        subprocess.run(program, check=True, env={"PYTHONPATH": sys.path[0], "PYTHONDONTWRITEBYTECODE": "1"})
        power_off()
    say(f"CLOCK {time.time():.0f}")
    SPOOL.mkdir(exist_ok=True)
    for part in SPOOL.glob(".*.npz"):
        part.unlink()  # a cut came between its writing and its renaming
    held = set(held_files())
    say(f"HELD {ranges(held)}")
    # past what an earlier start has fed, even one of which nobody saw the end
    first = max(int(settings["next"]), max(held, default=-1) + 2)
    try:
        live(first, int(settings["feed"]), words)
    except Failed as failure:
        for line in LOG.read_text(errors="replace").splitlines()[-8:]:
            say(f"LOG {line}")
        say(str(failure))
    power_off()


def live(number: int, left: int, words: list[str]) -> None:
    """Feed the agent until it has had enough, then stop it and report. Raises Failed."""
    environment = {"PATH": "/opt/headway/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    agents = dict(environment)
    if "nosync" in words:
        agents["LD_PRELOAD"] = str(next(iter(Path("/usr/lib").glob("*/libeatmydata.so*"))))
    command = ["/opt/headway/bin/edge-agent", "--log-level", "warning", "run", "/data/agent.toml"]
    with LOG.open("wb") as log:
        agent = subprocess.Popen(command, env=agents, stdout=log, stderr=log)
    while left:
        feed(number)
        wait((ANSWERS / f"{number:06}.npz").exists, agent, f"the answer to file {number}")
        say(f"ACKED {number}")
        number, left = number + 1, left - 1
    wait(lambda: not any(files(SPOOL, SPOOL / "claimed")), agent, "an empty spool")
    say("SETTLED")
    if "hold" in words:
        wait((DATA / "stop").exists, agent, "the end of the hold", HOLD_S_MAX)
    agent.terminate()
    try:
        code = agent.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        raise Failed(f"STUCK the agent did not end within {STOP_S_MAX:.0f} s of SIGTERM") from None
    say("STATUS " + json.dumps(report(environment, code)))


def say(line: str) -> None:
    print(line, flush=True)


def power_off() -> None:
    os.sync()
    ctypes.CDLL(None).reboot(POWER_OFF)


def feed(number: int) -> None:
    """A labelled file of its own content, on the disk before its name is; the files lie ready on the data disk."""
    part = SPOOL / f".{number:06}.npz"
    part.write_bytes((DATA / "ready" / f"{number:06}.npz").read_bytes())
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(SPOOL / f"{number:06}.npz")


def wait(done: Callable[[], bool], agent: subprocess.Popen[bytes], what: str, limit_s: float = ANSWER_S_MAX) -> None:
    """Until it is done. Raises Failed when the agent ends first, or after the limit."""
    deadline = time.monotonic() + limit_s
    while not done():
        if agent.poll() is not None:
            raise Failed(f"ENDED the agent, with code {agent.returncode}, before {what}")
        if time.monotonic() > deadline:
            there = [str(path.relative_to(DATA)) for path in sorted(SPOOL.rglob("*")) if path.is_file()]
            raise Failed(f"STUCK waited {limit_s:.0f} s for {what}; in the spool: {', '.join(there[:12]) or 'nothing'}")
        time.sleep(0.02)


def files(*folders: Path) -> Iterator[Path]:
    """What the agent would take: pathlib's pattern alone finds hidden names too."""
    for folder in folders:
        yield from (path for path in folder.glob("*.npz") if not path.name.startswith("."))


def held_files() -> Iterator[int]:
    """Numbers of the files whose answer is on the disk and whole, and of those that still wait for one."""
    for path in files(ANSWERS, SPOOL, SPOOL / "claimed"):
        if zipfile.is_zipfile(path):
            yield int(path.stem.split("-")[-1])


def ranges(numbers: set[int]) -> str:
    """1-5,7: one line on a serial line, however many there are."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{first}-{last}" for first, last in found)


def report(environment: dict[str, str], code: int) -> dict[str, object]:
    """What the agent has on its disk: its own words, whether the database is sound, which files it has answered."""
    import sqlite3

    from edge_agent.store import DATABASE

    command = ["/opt/headway/bin/edge-agent", "status", "--json", "/data/agent.toml"]
    said = subprocess.run(command, env=environment, capture_output=True, timeout=ANSWER_S_MAX, text=True)
    if said.returncode:
        raise Failed(f"STUCK edge-agent status ended with {said.returncode}: {said.stderr.strip()[-300:]}")
    status = json.loads(said.stdout)
    databases = list((DATA / "state").rglob(DATABASE))
    sound = [sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()[0] for path in databases]
    answered = {int(path.stem) for path in files(ANSWERS) if zipfile.is_zipfile(path)}
    rejected = sorted(path.name for path in SPOOL.glob("rejected/*"))
    keys = ("labels", "waiting_labels", "files_consumed", "databases_set_aside", "last_recovery", "sync")
    return {
        "code": code,
        "sound": sound,
        "answered": ranges(answered),
        "rejected": rejected,
        **{key: status[key] for key in keys},
    }


if __name__ == "__main__":
    main()
