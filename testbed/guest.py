"""Runs as the first process of a virtual machine (`testbed.virtual`): starts the agent, and feeds it.

What it prints on the serial line is the record of what was promised: "ACKED n" once file n is answered. Words on the
kernel's command line: next=N, the number of the first file; feed=N, how many files (then it stops the agent, prints
STATUS and ends); nosync, the agent's syncs do nothing; tables, run tables.py alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(path) for path in Path("/opt/headway/lib").glob("python3*/site-packages")]

DATA = Path("/data")
SPOOL, ANSWERS = DATA / "spool", DATA / "predictions"
POWER_OFF = 0x4321FEDC


def main() -> None:
    words = Path("/proc/cmdline").read_text().split()
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    if "tables" in words:
        program = ["/usr/bin/python3", "/tables.py", "/data/model.hwb", "/data/windows.npz"]
        subprocess.run(program, check=True, env={"PYTHONPATH": sys.path[0], "PYTHONDONTWRITEBYTECODE": "1"})
        power_off()
    environment = {"PATH": "/opt/headway/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    shims = list(Path("/usr/lib").glob("*/libeatmydata.so*"))
    agents = dict(environment)
    if "nosync" in words:
        agents["LD_PRELOAD"] = str(shims[0])
    command = ["/opt/headway/bin/edge-agent", "--log-level", "warning", "run", "/data/agent.toml"]
    print(f"CLOCK {time.time():.0f}", flush=True)
    agent = subprocess.Popen(command, env=agents)
    number, left = int(settings["next"]), int(settings["feed"])
    SPOOL.mkdir(exist_ok=True)
    while left:
        feed(number)
        wait((ANSWERS / f"{number:06}.npz").exists, agent)
        print(f"ACKED {number}", flush=True)
        number, left = number + 1, left - 1
    wait(lambda: not any([*SPOOL.glob("*.npz"), *SPOOL.glob("claimed/*")]), agent)
    print("SETTLED", flush=True)
    wait(lambda: (DATA / "stop").exists() or "hold" not in words, agent)
    agent.terminate()
    code = agent.wait()
    print("STATUS " + json.dumps(report(environment, code)), flush=True)
    power_off()


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


def wait(done: Callable[[], bool], agent: subprocess.Popen[bytes]) -> None:
    while not done():
        if agent.poll() is not None:
            print(f"ENDED {agent.returncode}", flush=True)
            time.sleep(3600)
        time.sleep(0.02)


def report(environment: dict[str, str], code: int) -> dict[str, object]:
    """What the agent has on its disk: its own words, whether the database is sound, which files it has answered."""
    import sqlite3

    from edge_agent.store import DATABASE

    command = ["/opt/headway/bin/edge-agent", "status", "--json", "/data/agent.toml"]
    status = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    databases = list((DATA / "state").rglob(DATABASE))
    sound = [sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()[0] for path in databases]
    answered = sorted(int(path.stem) for path in ANSWERS.glob("*.npz"))
    rejected = sorted(path.name for path in SPOOL.glob("rejected/*"))
    keys = ("labels", "files_consumed", "databases_set_aside", "last_recovery", "sync")
    return {
        "code": code,
        "sound": sound,
        "answered": answered,
        "rejected": rejected,
        **{key: status[key] for key in keys},
    }


if __name__ == "__main__":
    main()
