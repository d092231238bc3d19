"""Real programs killed, copied and set back at random: python -m tests.crash [--faults 300] [--seed N].

Five agents that have joined, the aggregator, the join server and mosquitto with TLS run as processes, while labels flow
into the agents' spools. Most faults are a SIGKILL to one of the processes, at a random moment, and the victim is
started again at once. Others copy a device's disk, while it runs or while it is stopped, and start the copy under the
same id beside it; put an older copy in the place of a device; correct a label; label a window by a command from the
server, or change a setting from there; or kill the API in the middle of an act, which is then asked for again under the
same key. All the while bundles are rolled out, paused, approved and once rolled back, and devices join, renew their
certificates and are revoked by programs that are killed, too.

In the end every label must be counted exactly once, on every device and in the fleet; every act must have been done
once; the fleet's head must be bit for bit the head that is solved in one place from all labels; every disk must hold
the bundle that its device has confirmed and the store says; and the store must know exactly the certificates that
devices have or had, each code counted as often as somebody joined with it, and the broker must let in exactly those who
are not revoked. What differs is printed. The seed is printed, too; it fixes victims, moments and data, not the
scheduler.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.fleet import CrashFleet
from tests.crash.shortfall import Shortfall


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.faults} faults, {options.devices} agents", flush=True)
    began_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="headway-crash-") as folder,
        CrashFleet(Path(folder), options.devices, options.seed) as fleet,
    ):
        try:
            for number in range(1, options.faults + 1):
                fleet.one_fault()
                if number % 20 == 0:
                    print(f"{number:>4} faults, {fleet.labels} labels, {time.monotonic() - began_s:.0f} s", flush=True)
            report = fleet.settle()
        except Shortfall as shortfall:
            print(f"FAILED after {time.monotonic() - began_s:.0f} s, seed {options.seed}: {shortfall}")
            return 1
    print(f"{report}; {time.monotonic() - began_s:.0f} s, seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
