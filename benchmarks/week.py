"""How much memory an agent gains over a week: the real one, its clock sped up.

    python -m benchmarks.week [--days N] [--speed R]

An agent with a broker (TLS, signed bundle), whose clock runs `speed` times as fast as the machine's. First it does ten
minutes' work as `benchmarks.resident` gives it: 1,800 windows, one in three with its label. From then on a window comes
each minute of its time, again one in three with its label. Growth is what it has more at the end than after those ten
minutes. MB (10^6 bytes) at each tenth, and of what: the C library's heap, other memory of the process alone (most of it
Python's objects), and pages of programs and libraries. The kernel takes those away while memory is short, which would
hide what the agent gains: where they shrank, they count as they were. Every window is answered before the next one
comes, and every label must have been learned in the end. There is no server: reports go to the broker and are not
acknowledged.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.interpreters import machine
from benchmarks.resident import LABELLED_EVERY, WAIT_S, drop, online_agent, small_bundle
from converter.sources import QUIET
from edge_agent.commands import read_status
from edge_agent.config import read_config

AGENT = """
import sys, time
from pathlib import Path
from edge_agent import daemon, intake
from headway.logs import log_to_stderr
from headway.stopping import StopRequest
from edge_agent.daemon import run_once
from edge_agent.remote import RemoteConfiguration

speed, began_s, began_at_s = float(sys.argv[1]), time.monotonic(), time.time()

class FastClock:
    def monotonic_s(self):
        return began_s + speed * (time.monotonic() - began_s)

    def wall_s(self):
        return began_at_s + speed * (time.monotonic() - began_s)

# how long work may take goes by the machine's clock, or the queue of events would grow
daemon.EVENTS_S *= speed
intake.POLL_S *= speed
log_to_stderr("INFO", "%(levelname)s %(message)s")
run_once(RemoteConfiguration(Path(sys.argv[2])), FastClock(), StopRequest.on_signals(), once=False)
"""
MINUTES_A_DAY, TENTHS = 1440, 10
WARM_WINDOWS = 1_800
LEARNED_LOOK_S = 0.2
HEAP, OTHER, FILES = KINDS = ("heap", "other", "libraries")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.week", description=__doc__)
    parser.add_argument("--days", type=float, default=7.0, help="days of the agent's time (default 7)")
    parser.add_argument("--speed", type=float, default=2000.0, help="its seconds in one of ours (default 2000)")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    windows_count, sizes = round(options.days * MINUTES_A_DAY), list[dict[str, float]]()
    with tempfile.TemporaryDirectory(prefix="headway-week-") as name:
        folder = Path(name)
        bundle, key, windows, labels = small_bundle(folder)
        began_s = time.monotonic()
        with online_agent(folder, bundle, key, (sys.executable, "-c", AGENT, str(options.speed))) as (pid, _):
            for number in range(-WARM_WINDOWS, windows_count):
                row = slice(number % len(windows), number % len(windows) + 1)
                drop(folder, f"{number:+}", windows[row], None if number % LABELLED_EVERY else labels[row])
                if number < 0:
                    began_s = time.monotonic()
                    continue
                if number * TENTHS // windows_count >= len(sizes):
                    sizes.append(_look(number, pid))
                time.sleep(max(0.0, began_s + (number + 1) * 60 / options.speed - time.monotonic()))
            sizes.append(_look(windows_count, pid))
            _check_learned(folder, sum(number % LABELLED_EVERY == 0 for number in range(-WARM_WINDOWS, windows_count)))
        days = (time.monotonic() - began_s) * options.speed / MINUTES_A_DAY / 60
    first, last, gains = sizes[0], sizes[-1], [_gain(sizes[0], each) for each in sizes]
    grown = ", ".join(f"{kind} {last[kind] - first[kind]:+.2f}" for kind in KINDS)
    print(f"{machine()}; {windows_count} windows in {days:.1f} days of the agent's clock")
    print(f"growth {gains[-1]:+.2f} MB: {grown}; at most {max(gains):+.2f}")
    return 0


def _gain(first: dict[str, float], now: dict[str, float]) -> float:
    own = sum(now[kind] - first[kind] for kind in (HEAP, OTHER))
    return own + max(0.0, now[FILES] - first[FILES])


def _check_learned(folder: Path, labels: int) -> None:
    """Learning follows the answers. Raises SystemExit where the agent has not done the work."""
    config, end_s = read_config(folder / "agent.toml"), time.monotonic() + WAIT_S
    while (found := read_status(config)["labels"]) != labels:
        if time.monotonic() > end_s:
            raise SystemExit(f"error: {found} of {labels} labels were learned; this week proves nothing")
        time.sleep(LEARNED_LOOK_S)


def _look(windows: int, pid: int) -> dict[str, float]:
    sizes = _resident(pid)
    parts = ", ".join(f"{kind} {sizes[kind]:.2f}" for kind in KINDS)
    print(f"{windows / MINUTES_A_DAY:4.1f} days {sum(sizes.values()):6.2f} MB: {parts}", flush=True)
    return sizes


def _resident(pid: int) -> dict[str, float]:
    """MB by what they are of, from /proc/PID/smaps."""
    sizes, kind = dict.fromkeys(KINDS, 0.0), OTHER
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else ""
            kind = HEAP if name == "[heap]" else FILES if name.startswith("/") else OTHER
        elif words[0] == "Rss:":
            sizes[kind] += int(words[1]) * 1024 / 1e6
    return sizes


if __name__ == "__main__":
    sys.exit(main())
