"""How much memory an agent gains over a week: the real one, its clock sped up.

    python -m benchmarks.week [--days N] [--speed R]

An agent with a broker (TLS, signed bundle), whose clock runs `speed` times as fast as the machine's. A window comes
each minute of its time, one in three with its label. MB (10^6 bytes) after the first tenth of the time, which fills
what is bounded, and then at each tenth.
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
from benchmarks.resident import LABELLED_EVERY, drop, megabytes, online_agent, small_bundle
from converter.sources import QUIET

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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.week", description=__doc__)
    parser.add_argument("--days", type=float, default=7.0, help="days of the agent's time (default 7)")
    parser.add_argument("--speed", type=float, default=2000.0, help="its seconds in one of ours (default 2000)")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    windows_count, sizes = round(options.days * MINUTES_A_DAY), list[float]()
    with tempfile.TemporaryDirectory(prefix="headway-week-") as name:
        folder = Path(name)
        bundle, key, windows, labels = small_bundle(folder)
        began_s = time.monotonic()
        with online_agent(folder, bundle, key, (sys.executable, "-c", AGENT, str(options.speed))) as (pid, _):
            for number in range(windows_count):
                row = slice(number % len(windows), number % len(windows) + 1)
                drop(folder, str(number), windows[row], None if number % LABELLED_EVERY else labels[row])
                if (number + 1) * TENTHS // windows_count > len(sizes):
                    sizes.append(megabytes(pid, "VmRSS"))
                    print(f"{(number + 1) / MINUTES_A_DAY:4.1f} days {sizes[-1]:6.1f} MB", flush=True)
                time.sleep(max(0.0, began_s + (number + 1) * 60 / options.speed - time.monotonic()))
        days = (time.monotonic() - began_s) * options.speed / MINUTES_A_DAY / 60
    print(f"{machine()}; {windows_count} windows in {days:.1f} days of the agent's clock")
    print(
        f"growth after the first tenth {sizes[-1] - sizes[0]:+.2f} MB, from least to most {max(sizes) - min(sizes):.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
