"""Runs the benchmarks of docs/benchmarks.md one after the other and writes the page: make benchmarks [NAMES="A B"]

Each writes its figures into benchmarks/results; beside them machine.json says of each on which machine, at which load
and when it was measured. PEERS: a Python with torch, river and numba, in the environment.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime

from scripts.benchmark_page import RESULTS, ROOT, results
from scripts.benchmark_page import main as write_page

COMMANDS = {
    "ingest": ["--json"],
    "restart": ["--devices", "10000", "--kept-only", "--json"],
    "average_rounds": ["--json"],
    "update_bytes": ["--json"],
    "gradient_step": ["--out"],
    "one_class_fleet": ["--json"],
    "late_devices": ["--json"],
}


def machine() -> str:
    """In words, before a benchmark begins: its load is what others made."""
    python = platform.python_version()
    day = datetime.now(UTC).date()
    return f"{os.cpu_count()} {platform.machine()} cores, Python {python}, load {os.getloadavg()[0]:.1f}, {day}"


def main() -> int:
    chosen = sys.argv[1:] or list(COMMANDS)
    unknown = sorted(set(chosen) - set(COMMANDS))
    if unknown:
        print(f"there is no benchmark {unknown[0]!r} here; known: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in chosen:
        peers = os.environ.get("PEERS", "")
        more = ["--python", peers] if name == "gradient_step" and peers else []
        file = RESULTS / f"{name}.json"
        began_s, measured_on = time.monotonic(), machine()
        command = [sys.executable, "-m", f"benchmarks.{name}", *more, *COMMANDS[name], str(file)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        print(f"{name}: {time.monotonic() - began_s:.0f} s, exit code {done.returncode}", flush=True)
        if done.returncode:
            failed.append(name)
        else:
            note_machine(name, measured_on)
    write_page()
    return 1 if failed else 0


def note_machine(name: str, measured_on: str) -> None:
    """Beside what others were measured on."""
    noted = {**(results("machine") or {}), name: measured_on}
    (RESULTS / "machine.json").write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
